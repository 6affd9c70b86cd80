// Calls on their way into the server's process, and answers on their way out.
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/simulation/simulated_server.h"
#include "tests/testing/engine_driver.h"

namespace evoke::testing {

template <typename T>
std::function<void(absl::StatusOr<T>)> SimulatedServer::Answered(
    const std::shared_ptr<Call>& call, const Reply& reply,
    std::function<void(const absl::StatusOr<T>&, Answer*)> judge) {
  return [this, call, reply, judge = std::move(judge), life = life_](absl::StatusOr<T> got) {
    EXPECT_EQ(++call->answers, 1) << "answered twice";
    if (!life->alive) return;
    --unanswered_;
    Answer answer{.status = got.status(), .era = history_->era()};
    judge(got, &answer);
    if (!got.ok()) world_->Note(absl::StrCat("refused: ", ReasonOf(got.status())));
    reply(std::move(answer));
  };
}

Task SimulatedServer::TaskOf(const std::shared_ptr<Call>& call, const Reply& reply) {
  Task task{.deadline = call->deadline,
            .cancelled = [call, world = world_] { return call->cancelled_at <= world->now(); },
            .epoch = call->epoch};
  task.min_turn = call->min_turn;
  const uint32_t dim = options_.spec.key_dim;
  const auto name = [](const StateName& state, Answer* answer) {
    answer->turn = state.turn.value;
    answer->epoch = state.epoch.value;
  };
  const auto observe = [&](const std::vector<ModelRow>& rows, ObserveForm form) {
    ObserveCall observe{
        .rows = PackRows(rows, dim), .form = form, .confidence_gradient = form != ObserveForm::kOutcomes};
    bool payloads = false;
    for (const ModelRow& row : rows) payloads |= !row.payload.empty();
    for (const ModelRow& row : rows) {
      observe.values.push_back(row.value);
      observe.write.push_back(row.write && !row.skip);
      if (payloads) observe.payloads.push_back(row.payload);
    }
    observe.encode = [this](const ObserveReply& r) { return history_->Encode(r); };
    return observe;
  };
  if (call->mutation) {
    auto done = Answered<std::string>(
        call, reply, [this, call](const absl::StatusOr<std::string>& got, Answer* answer) {
          judge_.Mutation(*call, got, state());
          if (!got.ok()) return;
          answer->bytes = *got;
          if (const auto* applied = history_->FindApplied(call->mutation->digest)) {
            answer->turn = applied->turn;
            answer->epoch = history_->at(applied->turn).epoch;
          }
        });
    if (call->mutation->clear) {
      task.call = ClearCall{.mutation = call->id(),
                            .encode = [this](const ClearReply& r) { return history_->Encode(r); },
                            .done = std::move(done)};
    } else {
      ObserveCall made = observe(call->mutation->rows, call->mutation->form);
      made.mutation = call->id();
      made.done = std::move(done);
      task.call = std::move(made);
    }
    return task;
  }
  switch (call->read) {
    case Call::Read::kQuery: {
      QueryCall query{.rows = PackRows(call->rows, dim),
                      .k = call->k,
                      .inverse_temperature = options_.spec.inverse_temperature,
                      .neighbors = true,
                      .keys = true,
                      .payloads = call->payloads};
      query.done =
          Answered<QueryReply>(call, reply, [=, this](const absl::StatusOr<QueryReply>& got, Answer* answer) {
            judge_.Query(*call, got);
            if (got.ok()) name(got->state, answer);
          });
      task.call = std::move(query);
      break;
    }
    case Call::Read::kScore: {
      ObserveCall score = observe(call->rows, ObserveForm::kKeys);
      score.done = Answered<std::string>(
          call, reply,
          [this, call](const absl::StatusOr<std::string>& got, Answer*) { judge_.Score(*call, got); });
      task.call = std::move(score);
      break;
    }
    case Call::Read::kSlots: {
      SlotsCall slots = AllSlots(options_.spec.capacity);
      slots.done =
          Answered<SlotsReply>(call, reply, [=, this](const absl::StatusOr<SlotsReply>& got, Answer* answer) {
            judge_.Slots(*call, got);
            if (got.ok()) name(got->state, answer);
          });
      task.call = std::move(slots);
      break;
    }
    case Call::Read::kInspect:
      task.call =
          InspectCall{.done = Answered<InspectReply>(
                          call, reply, [=, this](const absl::StatusOr<InspectReply>& got, Answer* answer) {
                            judge_.Inspect(*call, got);
                            if (got.ok()) name(got->state, answer);
                          })};
      break;
  }
  return task;
}

void SimulatedServer::Deliver(std::shared_ptr<Call> call, Reply reply) {
  if (!process_ || !life_->alive) return;
  call->arrived = history_->turn();
  if (call->mutation) history_->Claim(call->id());
  ++unanswered_;
  executor_->Submit(TaskOf(call, reply));
}

}  // namespace evoke::testing
