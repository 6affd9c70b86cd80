#include "client/load/arrivals.h"

#include <cmath>

namespace evoke::load {

Arrivals::Arrivals(const Options& options)
    : options_(options), random_(options.seed, /*stream=*/0xA441), next_(options.start) {
  if (options_.kind == ArrivalKind::kPoisson) Advance();
}

void Arrivals::Advance() {
  ++passed_;
  if (options_.kind == ArrivalKind::kConstant) {
    // From the start and not from the last one: rounding a gap of 3.3 us to nanoseconds would be 1% of the
    // rate.
    next_ = options_.start + absl::Seconds(static_cast<double>(passed_) / options_.rate);
  } else {
    gaps_seconds_ -= std::log1p(-random_.Uniform()) / options_.rate;
    next_ = options_.start + absl::Seconds(gaps_seconds_);
  }
}

}  // namespace evoke::load
