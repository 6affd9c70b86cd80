// How a call on a memory is made: reads, and mutations under a session and a number. Internal.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/memory.h"
#include "evoke/memory_core.h"

namespace evoke::client {

using MemoryStub = v1::MemoryService::Stub;
using AdminStub = v1::AdminService::Stub;

// New sessions that one call opens because the server forgot the one before. A server that forgets two in a
// row, each opened after a turn just read, is overrun by clients; the caller should hear of it.
inline constexpr int kMaxReopens = 2;

// A unary method of a stub, and what errors call it.
template <typename Stub, typename Request, typename Reply>
struct Rpc {
  absl::string_view name;
  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*);
};

template <typename Stub, typename Request, typename Reply>
absl::Status Call(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, const Request& request,
                  absl::Time deadline, Reply* reply, Connection::Report* report = nullptr) {
  const absl::Status status = core.connection->Run(
      absl::StrCat(rpc.name, " of memory \"", core.name, "\""), deadline,
      [&](Connection::Stubs& stubs, grpc::ClientContext* context) {
        reply->Clear();
        if constexpr (std::is_same_v<Stub, MemoryStub>) {
          return ((*stubs.memory).*rpc.method)(context, request, reply);
        } else {
          return ((*stubs.admin).*rpc.method)(context, request, reply);
        }
      },
      report);
  if (status.ok()) core.SawTurn(reply->header().turn());
  return status;
}

void FillMemoryRef(const MemoryCore& core, const CallOptions& options, v1::MemoryRef* ref);
// Learns a turn that no session can have been forgotten after, but for those forgotten from now on.
absl::Status RefreshTurn(MemoryCore& core, absl::Time deadline);
// Gives the session back as the final error demands, and adds to the error what the caller must know.
absl::Status SettleError(absl::Status status, bool outcome_unknown, SessionPool::Lease& lease);

// A call that changes nothing.
template <typename Stub, typename Request, typename Reply>
absl::Status Read(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, Request& request,
                  const CallOptions& options, Reply* reply) {
  if (options.resume.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(rpc.name, " of memory \"", core.name,
                                                   "\" changes nothing, so there is nothing to resume"));
  }
  const absl::StatusOr<absl::Time> deadline = core.connection->DeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  FillMemoryRef(core, options, request.mutable_memory());
  return Call(core, rpc, request, *deadline, reply);
}

// A call that changes the memory, applied at most once whatever gets lost.
template <typename Stub, typename Request, typename Reply>
absl::Status Mutate(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, Request& request,
                    const CallOptions& options, Reply* reply) {
  const absl::StatusOr<absl::Time> deadline = core.connection->DeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  FillMemoryRef(core, options, request.mutable_memory());

  const uint64_t generation = core.sessions.generation();
  std::optional<SessionPool::Lease> lease =
      options.resume.has_value() ? core.sessions.Resume(*options.resume)
                                 : core.sessions.Take(core.turn_seen.load(std::memory_order_relaxed));
  if (!lease.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("mutation ", options.resume->number, " of session ",
                                                   options.resume->session.ToHex(), " of memory \"",
                                                   core.name, "\" is not held by this client"));
  }
  // Once an attempt's outcome is unknown, no later refusal makes it known: the refused attempt was another
  // one.
  Connection::Report report{.outcome_unknown = options.resume.has_value()};
  for (int reopens = 0;; ++reopens) {
    v1::Mutation* mutation = request.mutable_mutation();
    mutation->set_session(lease->id().session.ToBytes());
    mutation->set_number(lease->id().number);
    mutation->set_first_unacknowledged(lease->first_unacknowledged());
    mutation->set_opened_after(lease->id().number == 1 ? lease->opened_after() : 0);

    const absl::Status status = Call(core, rpc, request, *deadline, reply, &report);
    if (status.ok()) {
      lease->Applied();
      return status;
    }
    // Every attempt was refused, so the number was surely not applied and another session may offer the same
    // body; but not on content that was restored meanwhile, which the caller cannot have meant.
    const bool forgotten = GetErrorDetails(status).reason == "SESSION_UNKNOWN";
    if (!forgotten || report.outcome_unknown || reopens == kMaxReopens ||
        generation != core.sessions.generation()) {
      return SettleError(status, report.outcome_unknown, *lease);
    }
    lease->Forget();
    if (absl::Status refreshed = RefreshTurn(core, *deadline); !refreshed.ok()) return refreshed;
    lease = core.sessions.Open(core.turn_seen.load(std::memory_order_relaxed));
  }
}

}  // namespace evoke::client
