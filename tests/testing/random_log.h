// Long request logs for model and property tests, full of what makes two implementations differ: exact
// copies, near-ties by the thousand, exact ties, antipodes, rescaled rows, batches larger than the memory,
// row flags, Clear.
//
// A log is a function of its options alone, the same on every platform: integers from a generator of our own,
// and embeddings whose components are exact (small integers, or dyadic fractions).
//
//   RandomLog log({.seed = 7, .key_dim = 32, .capacity = 64});
//   for (int i = 0; i < 1000; ++i) { LogEntry entry = log.Next(); ... }
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/testing/model_memory.h"

namespace evoke::testing {

// SplitMix64 (Steele, Lea, Flood 2014): small, and its numbers never change.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // 0 .. n - 1; the bias of n / 2^64 does not matter here. Requires: n >= 1.
  uint64_t Below(uint64_t n) { return Next() % n; }
  // low .. high, both included.
  int64_t Between(int64_t low, int64_t high) { return low + static_cast<int64_t>(Below(high - low + 1)); }
  bool Percent(int percent) { return Below(100) < static_cast<uint64_t>(percent); }

 private:
  uint64_t state_;
};

struct RandomLogOptions {
  uint64_t seed = 1;
  int key_dim = 16;
  uint64_t capacity = 64;  // of the memory the log is meant for: large batches are larger than it
  int value_count = 8;     // the first four are 0, -1 and the extremes of int64

  int max_rows = 16;      // a usual batch has 1 .. max_rows rows,
  int large_percent = 2;  // a large one capacity + 1 .. 2 capacity

  // Weights of the kinds of embeddings; 0: none of the kind.
  int fresh = 4;      // small integers, unrelated
  int duplicate = 2;  // an earlier embedding, exactly
  int near_center =
      2;        // a center moved by 2^-20 to 2^-6 in a few components: similarities a few ulps apart, or none
  int tie = 2;  // sign patterns and permutations: many similarities are equal to the bit
  int antipodal = 1;  // the negative of an earlier embedding
  int scaled = 1;     // an earlier embedding times a power of two, 2^-24 to 2^24
  int center_count = 1;

  int same_value_percent = 60;  // a row made from an earlier one, or from a center, also has its value
  int no_write_percent = 5;
  int skip_percent = 3;  // skipped rows may hold what no other row may: zeros, NaN
  int payload_percent = 50;
  int clear_percent = 0;  // entries that are a Clear instead of a batch
};

struct LogEntry {
  bool clear = false;  // then there are no rows
  std::vector<ModelRow> rows;
};

class RandomLog {
 public:
  explicit RandomLog(const RandomLogOptions& options);
  LogEntry Next();

 private:
  struct Embedding {
    std::vector<float> x;
    int64_t value = 0;
  };

  ModelRow NextRow();
  Embedding NextEmbedding();
  Embedding Fresh();
  Embedding NearCenter();
  Embedding Tie();
  const Embedding& Earlier();
  void Remember(const Embedding& embedding);
  int64_t RandomValue();

  const RandomLogOptions options_;
  RandomBits bits_;
  std::vector<Embedding> earlier_;
  std::vector<Embedding> centers_;
  std::vector<float> pattern_;  // whose signs and order `tie` changes
  uint64_t rows_made_ = 0;
};

std::vector<LogEntry> MakeRandomLog(const RandomLogOptions& options, int entries);

}  // namespace evoke::testing
