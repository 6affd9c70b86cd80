// When the calls of an open loop are due, whatever becomes of the calls before them.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "client/load/random_bits.h"

namespace evoke::load {

enum class ArrivalKind {
  kConstant,  // one every 1 / rate
  kPoisson,   // independent of each other: gaps are exponential with mean 1 / rate, as of many users
};

// The times are fixed by kind, rate, seed and start alone. So a latency that is counted from them has the
// time in it that a call had to wait because the server, or this program, was busy with earlier ones; counted
// from the sending it would be left out, and a server that stalls would look fast (coordinated omission).
//
// A value. Thread-compatible.
class Arrivals {
 public:
  struct Options {
    ArrivalKind kind = ArrivalKind::kPoisson;
    double rate = 1;  // a second; finite, > 0
    uint64_t seed = 0;
    absl::Time start;  // of the constant ones the first is due there
  };
  explicit Arrivals(const Options& options);

  // When the next call is due.
  absl::Time next() const { return next_; }
  void Advance();
  double rate() const { return options_.rate; }

 private:
  Options options_;
  RandomBits random_;
  uint64_t passed_ = 0;      // arrivals before next_
  double gaps_seconds_ = 0;  // kPoisson: from the start to next_
  absl::Time next_;
};

}  // namespace evoke::load
