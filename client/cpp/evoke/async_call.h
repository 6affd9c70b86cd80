// How a call on a memory is made without waiting for it: memory_calls.h, driven by completions. Internal.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "evoke/attempt_series.h"
#include "evoke/error_details.h"
#include "evoke/in_flight.h"
#include "evoke/memory_calls.h"

namespace evoke::client {

using AsyncMemoryStub = v1::MemoryService::StubInterface::async_interface;
using AsyncAdminStub = v1::AdminService::StubInterface::async_interface;

// A unary method of a stub's asynchronous half, and what errors call it.
template <typename Stub, typename Request, typename Reply>
struct AsyncRpc {
  absl::string_view name;
  void (Stub::*method)(grpc::ClientContext*, const Request*, Reply*, std::function<void(grpc::Status)>);
};

// RefreshTurn without waiting.
void RefreshTurnAsync(std::shared_ptr<MemoryCore> core, absl::Time deadline,
                      absl::AnyInvocable<void(absl::Status)> done);

// One call underway. It keeps itself alive from Start until `done` has run, on the thread that ended it, and
// keeps its memory's connection. One attempt exists at a time, so there is nothing to lock.
template <typename Stub, typename Request, typename Reply>
class AsyncCall : public std::enable_shared_from_this<AsyncCall<Stub, Request, Reply>> {
 public:
  using Done = absl::AnyInvocable<void(absl::Status, Reply&)>;

  // `mutation` of a call that changes the memory; `ticket` an empty one of a call that is part of another.
  AsyncCall(InFlight::Ticket ticket, std::shared_ptr<MemoryCore> core, const AsyncRpc<Stub, Request, Reply>& rpc, Request request,
            absl::Time deadline, std::optional<NumberedMutation> mutation, Done done)
      : ticket_(std::move(ticket)),
        core_(std::move(core)),
        rpc_(rpc),
        request_(std::move(request)),
        deadline_(deadline),
        mutation_(std::move(mutation)),
        series_(*core_->connection, deadline),
        done_(std::move(done)) {}

  void Start() {
    if constexpr (requires { request_.mutable_mutation(); }) {
      if (mutation_.has_value()) mutation_->Stamp(request_.mutable_mutation());
    }
    Send();
  }

 private:
  void Send() {
    context_.emplace();
    reply_.Clear();
    Connection::Stubs& stubs = series_.Begin(&*context_);
    Stub* stub;
    if constexpr (std::is_same_v<Stub, AsyncMemoryStub>) {
      stub = stubs.memory->async();
    } else {
      stub = stubs.admin->async();
    }
    (stub->*rpc_.method)(
        &*context_, &request_, &reply_,
        [self = this->shared_from_this()](const grpc::Status& status) mutable {
          CompletionScope scope;
          self->Ended(StatusFromGrpc(status));
          self.reset();  // inside the scope
        });
  }

  void Ended(const absl::Status& status) {
    if (status.ok()) {
      if constexpr (requires { reply_.header(); }) core_->SawTurn(reply_.header().turn());
      if (mutation_.has_value()) mutation_->Applied();
      return Complete(status);
    }
    const std::optional<absl::Duration> delay = series_.DelayAfter(status);
    if (!delay.has_value()) return Failed(series_.Explain(CallName(*core_, rpc_.name), status));
    if (*delay == absl::ZeroDuration()) return Send();
    // A channel that is not connected yet is waited for by no one here: with asynchronous calls there are
    // threads that drive it, so it is connected when gRPC's own back-off allows, and the next attempt finds it.
    core_->connection->clock().CallAfter(*delay, [self = this->shared_from_this()] { self->Send(); });
  }

  void Failed(absl::Status status) {
    if (!mutation_.has_value()) return Complete(std::move(status));
    if (!mutation_->MayReopen(status, series_.outcome_unknown())) {
      return Complete(mutation_->Settle(std::move(status), series_.outcome_unknown()));
    }
    RefreshTurnAsync(core_, deadline_, [self = this->shared_from_this()](absl::Status refreshed) {
      if (!refreshed.ok()) return self->Complete(std::move(refreshed));
      self->mutation_->Reopen();
      self->series_.Restart(self->deadline_, 0);
      self->Start();
    });
  }

  void Complete(absl::Status status) { done_(std::move(status), reply_); }

  const InFlight::Ticket ticket_;  // first, so that it goes last: who waits for it may close the channels
  const std::shared_ptr<MemoryCore> core_;
  const AsyncRpc<Stub, Request, Reply> rpc_;
  Request request_;
  const absl::Time deadline_;
  std::optional<NumberedMutation> mutation_;  // refers to *core_, so it goes first
  AttemptSeries series_;
  std::optional<grpc::ClientContext> context_;  // of the attempt underway
  Reply reply_;
  Done done_;
};

}  // namespace evoke::client
