// Which call comes next.
#pragma once

#include <array>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/load/method.h"

namespace evoke::load {

// Methods by weight. A value; thread-safe, as it never changes.
class Mix {
 public:
  using Weights = std::array<double, kMethodCount>;  // by Method

  // Of "query=9,train_step=1"; the weights are in relation to each other, a name alone has 1.
  // INVALID_ARGUMENT for an unknown or repeated name, a weight that is negative or no finite number, and for
  // nothing but zeros.
  static absl::StatusOr<Mix> Parse(absl::string_view text);
  explicit Mix(const Weights& weights);

  // `uniform` in [0, 1) decides; a method of weight 0 never comes.
  Method At(double uniform) const;
  // Of 1.
  double Share(Method method) const;
  // Whether any of its calls changes the memory.
  bool writes() const { return Share(Method::kUpdate) + Share(Method::kTrainStep) > 0; }

 private:
  Weights ends_;  // cumulative, of 1
};

}  // namespace evoke::load
