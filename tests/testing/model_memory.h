// The oracle: a memory as semantics.md sections 1 to 5 tell it, in the fewest and slowest words, to be
// checked by eye.
//
// Every step looks at all M slots, and nothing is kept that can be computed again: no index, no orders, no
// incremental hash. It shares no code with server/, so the two agree only when both are right: slots,
// similarities, losses and hashes to the bit; confidences and gradients, which need exp, within a tolerance.
//
// Not modelled: sessions and turns (section 5, "Exactly once"), durability, partitions, other write rules.
// Threads: thread-compatible. Cost: O(rows * M * d) a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/ids.h"

namespace evoke::testing {

// Section 1; the defaults are those of a spec, but age_noise is what it says.
struct ModelSpec {
  int key_dim = 0;
  uint64_t capacity = 0;
  uint64_t seed = 0;
  int choose_k = 256;
  float margin = 0.1f;
  double inverse_temperature = 40;
  uint32_t age_noise = 0;
  bool sequential = false;
  std::optional<float> merge_on_miss;
  std::optional<float> fold_misses;
  int payload_history = 4;
};

struct ModelRow {
  std::vector<float> x;  // [key_dim], any scale
  int64_t value = 0;
  bool write = true;
  bool skip = false;
  std::string payload;  // empty: none
};

enum class Outcome { kNone, kHit, kMerged, kFolded, kFree, kEvict, kDropped };
// "none", "hit", "merged", "folded", "free", "evict", "dropped".
const char* ToString(Outcome outcome);

constexpr uint64_t kNoSlot = ~uint64_t{0};

// What a train step tells of one row: the inputs of all return forms, and what became of the row.
struct ModelResult {
  bool answered = false;
  int64_t value = 0;      // of the nearest neighbor; 0 where not answered
  double confidence = 0;  // 0 where not answered
  float loss = 0;
  bool positive_found = false;  // the fallback counts
  bool negative_found = false;
  Outcome outcome = Outcome::kNone;
  uint64_t slot = kNoSlot;                  // the slot written
  std::vector<float> positive_key;          // [key_dim], zeros when absent
  std::vector<float> negative_key;          // [key_dim], zeros when absent
  std::vector<double> loss_gradient;        // [key_dim], d loss / d x
  std::vector<double> confidence_gradient;  // [key_dim], d confidence / d x
  uint64_t evicted_age = 0;  // of the slot's old content at the observation's own step; 0 unless kEvict
};

struct ModelNeighbor {
  uint64_t slot = 0;
  int64_t value = 0;
  float similarity = 0;
  double weight = 0;  // softmax over the neighbors returned
  uint64_t age = 0;
  std::vector<float> key;
};

struct ModelSlot {
  bool live = false;
  std::vector<float> key;
  int64_t value = 0;
  uint64_t written_step = 0;
  uint32_t hits = 0;
  std::vector<std::pair<uint64_t, std::string>>
      payloads;  // (step, bytes): the first, then the latest; some empty
};

class ModelMemory {
 public:
  explicit ModelMemory(ModelSpec spec);

  // Whether a request with these rows is served: every row that is not skipped is finite and of a legal norm.
  bool Accepts(const std::vector<ModelRow>& rows) const;

  // One request. Requires: Accepts(rows). Returns: one result for each row.
  std::vector<ModelResult> Train(const std::vector<ModelRow>& rows);

  // The min(k, live) nearest slots. Requires: x is as Accepts wants it; k >= 1.
  std::vector<ModelNeighbor> Query(const std::vector<float>& x, int k) const;
  std::vector<ModelNeighbor> Query(const std::vector<float>& x, int k, double inverse_temperature) const;

  void Clear();

  Hash128 StateHash() const;
  uint64_t step() const { return step_; }
  uint64_t live() const;
  const std::vector<ModelSlot>& slots() const { return slots_; }
  // Live slots of a value, most recently written first.
  std::vector<uint64_t> SlotsOfValue(int64_t value) const;
  // (step, bytes) of what is kept: the first, then the latest in the order of their steps; empty ones left
  // out.
  std::vector<std::pair<uint64_t, std::string>> Payloads(uint64_t slot) const;

 private:
  std::vector<ModelResult> TrainAtomic(const std::vector<ModelRow>& rows);
  std::vector<ModelNeighbor> Neighbors(const std::vector<float>& q, int k, double inverse_temperature) const;
  ModelResult Score(const std::vector<ModelNeighbor>& neighbors, const std::vector<float>& q, float norm,
                    int64_t value) const;
  void Reinforce(uint64_t slot, const std::vector<float>& q, uint64_t step, const std::string& payload);
  void Write(uint64_t slot, const std::vector<float>& q, int64_t value, uint64_t step,
             const std::string& payload);

  const ModelSpec spec_;
  std::vector<ModelSlot> slots_;
  uint64_t step_ = 0;
};

// Section 2, to the bit.
float ModelSimilarity(const std::vector<float>& a, const std::vector<float>& b);
float ModelNorm(const std::vector<float>& x);
std::vector<float> ModelNormalise(const std::vector<float>& x);
// u_i of section 5.
uint32_t ModelNoise(uint64_t seed, uint64_t step, uint64_t slot);

}  // namespace evoke::testing
