#include "client/cli/progress_bar.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace evoke::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr absl::Duration kNextLine = absl::Seconds(5);
constexpr uint64_t kWidth = 24;

bool CountsRows(absl::string_view phase) {
  for (const absl::string_view known : {"check", "export", "import", "query", "update", "scan"}) {
    if (phase == known) return true;
  }
  return false;
}

std::string Amount(absl::string_view phase, uint64_t amount) {
  return CountsRows(phase) ? absl::StrCat(amount) : BytesText(amount);
}

std::string Line(absl::string_view what, absl::string_view phase, uint64_t done, uint64_t total) {
  std::string line = absl::StrCat(what, ": ", phase, " ");
  if (total == 0) return absl::StrCat(line, Amount(phase, done), CountsRows(phase) ? " rows" : "");
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const size_t full = static_cast<size_t>(part * kWidth);
  absl::StrAppendFormat(&line, "[%s%s] %3d%% %s of %s", std::string(full, '#'),
                        std::string(kWidth - full, '.'), static_cast<int>(part * 100), Amount(phase, done),
                        Amount(phase, total));
  return CountsRows(phase) ? line + " rows" : line;
}

}  // namespace

std::string BytesText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double amount = static_cast<double>(bytes);
  size_t unit = 0;
  for (; amount >= 1000 && unit + 1 < std::size(kUnits); ++unit) amount /= 1000;
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", amount, kUnits[unit]);
}

ProgressBar::~ProgressBar() {
  EndLine();
}

void ProgressBar::Show(absl::string_view phase, uint64_t done, uint64_t total) {
  if (!options_.enabled) return;
  const absl::Time now = options_.clock.Now();
  const bool new_phase = phase != phase_;
  const bool finished = total > 0 && done >= total;
  if (!new_phase && !finished && now < drawn_ + (options_.terminal ? kRedraw : kNextLine)) return;
  if (new_phase) EndLine();
  phase_ = std::string(phase);
  drawn_ = now;
  std::string line = Line(options_.what, phase, done, total);
  if (!options_.terminal) {
    options_.out << line << '\n' << std::flush;
    return;
  }
  const size_t size = line.size();
  if (drawn_size_ > size) line.append(drawn_size_ - size, ' ');
  options_.out << '\r' << line << std::flush;
  line_open_ = true;
  drawn_size_ = size;
}

client::Progress ProgressBar::callback() {
  return [this](absl::string_view phase, uint64_t done, uint64_t total) { Show(phase, done, total); };
}

void ProgressBar::EndLine() {
  if (line_open_) options_.out << '\n' << std::flush;
  line_open_ = false;
  drawn_size_ = 0;
}

}  // namespace evoke::cli
