// One request's labelled rows, from judgement to writes (semantics.md, section 5, "Batches").
//
//   BatchPlan plan(...);
//   while (!plan.Resolve(&view, &need)) { ask the shards for `need`, add it to the view; need = {}; }
//   plan.result(), plan.figures(), plan.step_after()
//
// Resolve goes as far as the view allows and continues there when it is called again; what is decided stands. It
// never asks for the same thing twice, so the loop ends.
//
// ATOMIC: all rows are judged and scored on the view before the batch; hits and merges are written in item order,
// then the misses. SEQUENTIAL: each row is judged, scored and written before the next. Rows that do not write are
// judged and scored alike. Threads: the memory's strand only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "server/memory/batch_result.h"
#include "server/memory/turn_view.h"
#include "server/memory/write_rule.h"

namespace evoke {

// The rows of one request. Spans must outlive the plan.
struct BatchRows {
  static constexpr uint32_t kSkipped = ~uint32_t{0};
  std::vector<uint32_t> view_row;           // [rows] index into the view's rows; kSkipped where skip is set
  absl::Span<const int64_t> values;         // [rows]
  absl::Span<const uint8_t> write;          // [rows] 0 or 1
  absl::Span<const float> norms;            // [rows] of the embedding before normalisation
  absl::Span<const std::string> payloads;   // empty, or [rows]
  ObserveForm form = ObserveForm::kScores;
  bool confidence_gradient = false;
};

// For metrics; one entry of `rows` a row.
struct BatchFigures {
  std::vector<uint64_t> seen;       // live observations of the row's value before the batch
  std::vector<Eviction> evictions;
  std::vector<float> key_drifts;    // 1 - cos(old key, new key) of each reinforcement
};

class BatchPlan {
 public:
  // `batch` tells the batches of a turn apart.
  BatchPlan(const MemorySpec* spec, const WriteRule* rule, BatchRows rows, Step before, uint64_t batch);

  // True when every row is judged, scored and written to `view`.
  bool Resolve(TurnView* view, Need* need);

  // After Resolve returned true.
  BatchResult& result() { return result_; }
  const BatchFigures& figures() const { return figures_; }
  Step step_after() const { return Step(step_); }

 private:
  bool ResolveAtomic(TurnView* view, Need* need);
  bool ResolveSequential(TurnView* view, Need* need);
  bool JudgeAndScore(const TurnView& view, size_t i, Need* need);
  bool Fold(TurnView* view, size_t i);
  bool PlaceMiss(TurnView* view, size_t i, bool atomic, Need* need);
  void Reinforce(TurnView* view, size_t i, const ScoredSlot& target, Outcome outcome);
  TurnView::Observation ObservationOf(size_t i) const;
  bool skipped(size_t i) const { return rows_.view_row[i] == BatchRows::kSkipped; }

  const MemorySpec* const spec_;
  const WriteRule* const rule_;
  const BatchRows rows_;
  const uint64_t batch_;
  std::vector<uint64_t> steps_;  // [rows] the step that a row owns
  uint64_t step_;                // after the batch

  std::vector<Judgement> judgements_;  // [rows]
  std::vector<uint8_t> judged_;        // [rows]
  enum class Stage { kJudge, kReinforce, kPlace, kDone } stage_ = Stage::kJudge;
  size_t next_ = 0;                    // row that the stage goes on with

  absl::flat_hash_set<uint64_t> reinforced_;  // H: hit or merged by any row that writes
  struct Taken {
    int64_t value;
    uint64_t slot;
  };
  std::vector<Taken> taken_;  // by earlier misses of this batch, in item order
  BatchResult result_;
  BatchFigures figures_;
};

}  // namespace evoke
