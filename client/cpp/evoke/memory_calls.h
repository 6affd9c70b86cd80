// How a call on a memory is made: reads, and mutations under a session and a number. Internal.
#pragma once

#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "evoke/memory.h"
#include "evoke/memory_core.h"
#include "evoke/numbered_mutation.h"

namespace evoke::client {

using MemoryStub = v1::MemoryService::Stub;
using AdminStub = v1::AdminService::Stub;

// A unary method of a stub, and what errors call it.
template <typename Stub, typename Request, typename Reply>
struct Rpc {
  absl::string_view name;
  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*);
};

// "Query of memory "faces"", as errors begin.
std::string CallName(const MemoryCore& core, absl::string_view rpc);

template <typename Stub, typename Request, typename Reply>
absl::Status Call(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, const Request& request,
                  absl::Time deadline, Reply* reply, Connection::Report* report = nullptr) {
  const absl::Status status = core.connection->Run(
      CallName(core, rpc.name), deadline,
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
// The error of a resume given to a call that changes nothing; OK without one.
absl::Status NothingToResume(const MemoryCore& core, absl::string_view what, const CallOptions& options);

// A call that changes nothing.
template <typename Stub, typename Request, typename Reply>
absl::Status Read(MemoryCore& core, const Rpc<Stub, Request, Reply>& rpc, Request& request,
                  const CallOptions& options, Reply* reply) {
  if (absl::Status status = NothingToResume(core, rpc.name, options); !status.ok()) return status;
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

  absl::StatusOr<NumberedMutation> mutation = NumberedMutation::Begin(core, rpc.name, options);
  if (!mutation.ok()) return mutation.status();
  Connection::Report report;
  const RequestScope one_call(core.connection->NamesOfCall());  // however many sessions it takes
  while (true) {
    mutation->Stamp(request.mutable_mutation());
    const absl::Status status = Call(core, rpc, request, *deadline, reply, &report);
    if (status.ok()) {
      mutation->Applied();
      return status;
    }
    if (!mutation->MayReopen(status, report.outcome_unknown)) {
      return mutation->Settle(status, report.outcome_unknown);
    }
    if (absl::Status refreshed = RefreshTurn(core, *deadline); !refreshed.ok()) return refreshed;
    mutation->Reopen();
  }
}

}  // namespace evoke::client
