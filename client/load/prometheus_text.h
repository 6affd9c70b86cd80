// What a server's metrics page says, in Prometheus's text format.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evoke::load {

using Labels = std::map<std::string, std::string>;

// The samples of one moment. A value; thread-safe, as it never changes.
class Scrape {
 public:
  // INVALID_ARGUMENT naming the line that is no comment and no sample. Timestamps and exemplars are not kept.
  static absl::StatusOr<Scrape> Parse(absl::string_view text);

  // Sum over the samples of that name that have all of `labels`, whatever others they have; 0 without any.
  double Sum(absl::string_view name, const Labels& labels = {}) const;
  bool Has(absl::string_view name) const;
  // The values that a label has in the samples of that name.
  std::vector<std::string> ValuesOf(absl::string_view name, const std::string& label) const;

 private:
  struct Sample {
    Labels labels;
    double value = 0;
  };
  std::map<std::string, std::vector<Sample>, std::less<>> samples_;  // by name
};

}  // namespace evoke::load
