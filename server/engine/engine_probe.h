// What a memory's engine tells about itself: one report a turn, made of what the turn had at hand anyway.
//
// The metrics exporter implements it; tests record it. Threads: calls come from one thread at a time a memory and
// must be quick.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/memory/outcome.h"
#include "storage/ids.h"

namespace evoke {

enum class Phase : uint8_t { kQueue, kPropose, kMore, kFetch, kDecide, kCommit, kApply, kReply };
inline constexpr int kPhaseCount = 8;
inline constexpr const char* kPhaseNames[kPhaseCount] = {"queue", "propose", "more",  "fetch",
                                                         "decide", "commit", "apply", "reply"};

// A labelled row that was answered.
struct ScoredRow {
  bool answered = false;
  bool correct = false;     // the nearest neighbor had the right value
  bool written = false;     // write = true; others do not count as training
  uint64_t seen = 0;        // live observations of the right value before the row's batch
  float confidence = 0;
  float loss = 0;
  bool positive_found = false;
  bool negative_found = false;
};

struct TurnReport {
  std::array<absl::Duration, kPhaseCount> phases{};  // kQueue is the longest wait of its tasks; zero: not passed
  uint32_t tasks = 0;
  uint32_t rows = 0;
  bool committed = false;
  std::array<uint64_t, kOutcomeCount> outcomes{};  // observations by Outcome
  std::vector<ScoredRow> scored;                   // TrainStep rows
  std::vector<Eviction> evictions;                 // in the order of their steps within each request
  std::vector<float> key_drifts;                   // 1 - cos(old key, new key), of each reinforcement
  uint64_t last_slots_evicted = 0;                 // evictions that left their value without a slot
  uint64_t more_neighbors = 0, more_oldest = 0, more_free = 0, more_of_value = 0;  // second requests to the shards
  uint64_t retry_duplicates = 0;                   // retries answered from stored replies
  // The memory after the turn.
  Turn turn;
  Step step;
  uint64_t live_count = 0;
  uint64_t distinct_values = 0;
};

// What became of a snapshot of the memory.
struct SnapshotReport {
  bool made = false;
  bool earlier = false;    // before this process, and only told again
  absl::Duration duration;
  absl::Time created;      // these two: when made
  uint64_t bytes = 0;
};

class EngineProbe {
 public:
  virtual ~EngineProbe() = default;
  virtual void OnTurn(const TurnReport& report) = 0;
  // A task was refused before a turn: its reason, as in proto/README.md.
  virtual void OnRejected(std::string_view reason) = 0;
  virtual void OnSnapshot(const SnapshotReport&) {}
};

}  // namespace evoke
