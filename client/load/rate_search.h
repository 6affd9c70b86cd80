// The highest rate that is served within bounds: first brackets it by doubling and halving, then bisects.
#pragma once

#include <optional>

namespace evoke::load {

// Knows nothing of how a rate is tried:
//
//   for (std::optional<double> rate; (rate = search.Next()).has_value();) search.Tell(TryIt(*rate));
//   search.best();
//
// Takes for granted that what is met at a rate is met below it; where noise breaks that, the result still is
// a rate that was met, and one at most 1 + precision times higher that was not. About log2(ratio of start and
// result) + log2(1 / precision) tries.
//
// A value. Thread-compatible.
class RateSearch {
 public:
  struct Options {
    double start = 100;       // first rate tried; > 0
    double lowest = 1;        // none below is tried; > 0, at most `start`
    double highest = 1e6;     // none above is tried; at least `start`
    double precision = 0.05;  // ends when best and failed are no further apart, as a share of best; > 0
  };
  explicit RateSearch(const Options& options) : options_(options) {}

  // The rate to be tried; nullopt: done.
  std::optional<double> Next() const;
  // What became of Next().
  void Tell(bool met);

  // The highest rate that was met; nullopt: none was.
  std::optional<double> best() const { return best_; }
  // The lowest rate that was not.
  std::optional<double> failed() const { return failed_; }

 private:
  const Options options_;
  std::optional<double> best_;
  std::optional<double> failed_;
};

}  // namespace evoke::load
