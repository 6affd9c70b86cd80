#include "client/load/rate_search.h"

#include <algorithm>

namespace evoke::load {

std::optional<double> RateSearch::Next() const {
  if (!best_.has_value() && !failed_.has_value()) return options_.start;
  if (!failed_.has_value()) {
    if (*best_ >= options_.highest) return std::nullopt;
    return std::min(*best_ * 2, options_.highest);
  }
  if (!best_.has_value()) {
    if (*failed_ <= options_.lowest) return std::nullopt;
    return std::max(*failed_ / 2, options_.lowest);
  }
  if (*failed_ - *best_ <= options_.precision * *best_) return std::nullopt;
  return (*best_ + *failed_) / 2;
}

void RateSearch::Tell(bool met) {
  const std::optional<double> rate = Next();
  if (!rate.has_value()) return;
  (met ? best_ : failed_) = rate;
}

}  // namespace evoke::load
