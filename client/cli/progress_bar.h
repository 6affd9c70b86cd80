// Where a long call stands, for somebody who waits for it.
#pragma once

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "evoke/clock.h"
#include "evoke/memory.h"

namespace evoke::cli {

// One line on a terminal, drawn again a few times a second; elsewhere a line every few seconds. The first and
// the last state of every phase are always told. Thread-compatible.
class ProgressBar {
 public:
  struct Options {
    std::ostream& out;
    client::Clock& clock;  // these two must outlive it
    bool enabled = true;   // false: nothing is written
    bool terminal = true;  // `out` understands a carriage return
    std::string what;      // "export of faces"
  };
  explicit ProgressBar(Options options) : options_(std::move(options)) {}
  // Ends the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `done` of `total` (0: not known) bytes, or rows in the phases "check", "export", "import",
  // "query", "update" and "scan".
  void Show(absl::string_view phase, uint64_t done, uint64_t total);
  // As the calls of the client take it; valid as long as this object.
  client::Progress callback();

 private:
  void EndLine();

  const Options options_;
  std::string phase_;
  absl::Time drawn_ = absl::InfinitePast();
  bool line_open_ = false;
  size_t drawn_size_ = 0;  // of the open line: what follows covers it
};

// "27.1 MB", "512 B".
std::string BytesText(uint64_t bytes);

}  // namespace evoke::cli
