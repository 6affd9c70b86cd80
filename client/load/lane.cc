#include "client/load/lane.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/load/random_bits.h"
#include "evoke/error_details.h"
#include "evoke/retry_policy.h"

namespace evoke::load {
namespace {

constexpr uint64_t kChoices = uint64_t{1} << 40;  // of methods and waits; lanes are far below

std::string ErrorName(const absl::Status& status) {
  const std::string reason = client::GetErrorDetails(status).reason;
  return absl::StrCat(absl::StatusCodeToString(status.code()), reason.empty() ? "" : "/", reason);
}

// These say that client and server disagree about which numbers of a session were applied, which cannot be as
// long as both keep to the rules.
bool ContradictsSession(const std::string& reason) {
  return reason == "STEP_OUT_OF_ORDER" || reason == "STEP_TOO_OLD" || reason == "STEP_REUSED";
}

template <typename Request>
v1::Matrix* Embeddings(Request& request, uint32_t rows, uint32_t dim) {
  v1::Matrix* matrix = request.mutable_embeddings();
  matrix->set_dtype(v1::DTYPE_FLOAT32);
  matrix->set_rows(rows);
  matrix->set_dim(dim);
  return matrix;
}

}  // namespace

Lane::Lane(const LaneContext& context, int index, int connection, Recorder* recorder)
    : context_(context),
      stream_(static_cast<uint64_t>(index)),
      connection_(connection),
      recorder_(recorder),
      call_(std::make_unique<Call>()),
      last_(std::make_unique<Call>()) {}

void Lane::Begin(std::optional<absl::Time> due) {
  attempts_ = 0;
  outcome_unknown_ = false;
  turn_before_ = context_.judge->acknowledged_turn();
  Build(context_.workload.mix.At(RandomBits(context_.seed, kChoices + stream_, calls_++).Uniform()));
  begun_ = context_.clock->Now();
  due_ = due.value_or(begun_);
}

void Lane::Build(Method method) {
  const uint32_t rows = context_.workload.rows;
  const RowSource& source = *context_.rows;
  call_->method = method;
  switch (method) {
    case Method::kQuery: {
      v1::QueryRequest& request = call_->query;
      source.Fill(stream_, rows_, rows, Embeddings(request, rows, source.dim())->mutable_data());
      if (context_.workload.k.has_value()) request.set_k(*context_.workload.k);
      request.set_neighbors(context_.workload.neighbors);
      break;
    }
    case Method::kUpdate: {
      v1::UpdateRequest& request = call_->update;
      source.Fill(stream_, rows_, rows, Embeddings(request, rows, source.dim())->mutable_data(),
                  request.mutable_values());
      break;
    }
    case Method::kTrainStep: {
      v1::TrainStepRequest& request = call_->train_step;
      source.Fill(stream_, rows_, rows, Embeddings(request, rows, source.dim())->mutable_data(),
                  request.mutable_values());
      request.set_form(static_cast<v1::ReturnForm>(context_.workload.form));
      break;
    }
  }
  rows_ += rows;
  v1::MemoryRef* memory = call_->memory();
  memory->set_name(context_.memory);
  memory->set_uid(context_.uid);
  if (Writes(method)) FillMutation();
}

void Lane::FillMutation() {
  lease_ = sessions_.Take(std::max(context_.turn, turn_before_));
  v1::Mutation* mutation = call_->mutation();
  mutation->set_session(lease_->id().session.ToBytes());
  mutation->set_number(lease_->id().number);
  mutation->set_first_unacknowledged(lease_->first_unacknowledged());
  mutation->set_opened_after(lease_->id().number == 1 ? lease_->opened_after() : 0);
}

void Lane::Send(Target::Done done) {
  if (++attempts_ == 1) {
    const absl::Duration delay = context_.clock->Now() - due_;
    recorder_->Note([&](Measurements& seen) { seen.send_delay.Record(delay); });
  } else {
    recorder_->Note([](Measurements& seen) { ++seen.retries; });
  }
  call_->ClearReply();
  context_.target->Start(connection_, call_.get(), context_.deadline, std::move(done));
}

std::optional<absl::Time> Lane::OnReply(const absl::Status& status) {
  const absl::Time now = context_.clock->Now();
  if (status.ok()) {
    OnSuccess(now);
    return std::nullopt;
  }
  const std::string error = ErrorName(status);
  recorder_->Note([&](Measurements& seen) { ++seen.errors[error]; });
  if (lease_.has_value() && client::OutcomeIsUnknown(status)) outcome_unknown_ = true;

  const std::string reason = client::GetErrorDetails(status).reason;
  if (lease_.has_value() && (ContradictsSession(reason) || reason == "SESSION_UNKNOWN")) {
    if (ContradictsSession(reason)) {
      context_.judge->OnViolation(
          absl::StrCat(SessionText(), " was refused: ", error, ", ", status.message()));
    }
    if (outcome_unknown_) context_.judge->OnUnresolved(call_->rows());
    lease_->Forget();
    lease_.reset();
    Fail();
    return std::nullopt;
  }
  if (context_.shed && absl::IsResourceExhausted(status) && !outcome_unknown_) {
    recorder_->Note([&](Measurements& seen) { ++seen.of(call_->method).shed; });
    if (lease_.has_value()) lease_->Refused();
    lease_.reset();
    return std::nullopt;
  }
  if (!context_.abandoned->load(std::memory_order_relaxed)) {
    const absl::Duration left =
        outcome_unknown_ ? absl::InfiniteDuration() : begun_ + context_.deadline - now;
    const double uniform =
        RandomBits(context_.seed, kChoices + stream_, ~calls_ ^ static_cast<uint64_t>(attempts_)).Uniform();
    const std::optional<absl::Duration> delay =
        client::DelayBeforeRetry(context_.retry, attempts_, status, left, uniform);
    if (delay.has_value()) return now + *delay;
  }
  GiveUp();
  return std::nullopt;
}

void Lane::GiveUp() {
  if (lease_.has_value()) {
    if (outcome_unknown_) {
      context_.judge->OnUnresolved(call_->rows());
      lease_->Unknown();
    } else {
      lease_->Refused();
    }
    lease_.reset();
  }
  Fail();
}

void Lane::Fail() {
  recorder_->Note([&](Measurements& seen) { ++seen.of(call_->method).failed; });
}

void Lane::OnSuccess(absl::Time now) {
  const Method method = call_->method;
  const uint32_t rows = call_->rows();
  if (call_->reply_rows() != rows) {
    context_.judge->OnViolation(
        absl::StrCat(Name(method), " of ", rows, " rows was answered with ", call_->reply_rows()));
  }
  recorder_->Note([&](Measurements& seen) {
    MethodMeasurements& mine = seen.of(method);
    mine.latency.Record(now - due_);
    mine.rows += rows;
    for (const char outcome : call_->outcomes()) ++seen.outcomes[static_cast<unsigned char>(outcome) & 7];
  });
  if (!Writes(method)) {
    context_.judge->OnRead(call_->reply_header(), turn_before_);
    return;
  }
  context_.judge->OnMutation(call_->reply_header(), rows, turn_before_, &session_state_);
  lease_->Applied();
  lease_.reset();
  std::swap(call_, last_);
  has_last_ = true;
}

absl::Status Lane::Replay() {
  if (!has_last_) return absl::OkStatus();
  const std::string reply = last_->StoredReply();
  const absl::Time end = context_.clock->Now() + context_.deadline;
  for (int attempts = 1;; ++attempts) {
    absl::Notification done;
    absl::Status status;
    last_->ClearReply();
    context_.target->Start(connection_, last_.get(), context_.deadline, [&](absl::Status result) {
      status = std::move(result);
      done.Notify();
    });
    done.WaitForNotification();
    if (status.ok()) break;
    const auto delay =
        client::DelayBeforeRetry(context_.retry, attempts, status, end - context_.clock->Now(), 0.5);
    if (!delay.has_value()) return status;
    context_.clock->Sleep(*delay);
  }
  context_.judge->OnReplay(last_->StoredReply() == reply,
                           absl::StrCat("number ", last_->mutation()->number(), " of session ",
                                        client::Id128::FromBytes(last_->mutation()->session()).ToHex()));
  return absl::OkStatus();
}

std::string Lane::SessionText() const {
  return absl::StrCat("number ", lease_->id().number, " of session ", lease_->id().session.ToHex());
}

}  // namespace evoke::load
