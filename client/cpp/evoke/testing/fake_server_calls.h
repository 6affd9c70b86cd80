// How FakeServer answers one call: faults first, then the rules of sessions. Internal.
#pragma once

#include "absl/strings/str_cat.h"
#include "evoke/testing/fake_server.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/server_context.h"

namespace evoke::client {

inline grpc::Status ToGrpc(const Fault& fault) {
  const auto code = static_cast<grpc::StatusCode>(fault.code);
  if (fault.reason.empty() && !fault.retry_delay.has_value()) return {code, "scripted"};
  google::rpc::Status model;
  model.set_code(static_cast<int>(fault.code));
  model.set_message("scripted");
  google::rpc::ErrorInfo info;
  info.set_reason(fault.reason);
  info.set_domain("evoke");
  info.mutable_metadata()->insert(fault.metadata.begin(), fault.metadata.end());
  model.add_details()->PackFrom(info);
  if (fault.retry_delay.has_value()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(*fault.retry_delay));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(*fault.retry_delay) % 1000000000));
    model.add_details()->PackFrom(retry);
  }
  return {code, "scripted", model.SerializeAsString()};
}

inline grpc::Status SessionError(absl::StatusCode code, const char* reason, uint64_t last_number) {
  return ToGrpc({.code = code, .reason = reason, .metadata = {{"last_number", absl::StrCat(last_number)}}});
}

inline grpc::Status NotFound() {
  return ToGrpc({.code = absl::StatusCode::kNotFound, .reason = "MEMORY_NOT_FOUND"});
}

inline std::string Zeros(size_t size) {
  return std::string(size, '\0');
}

template <typename Request, typename Reply, typename Work>
grpc::Status FakeServer::ServeMutation(const Request& request, FakeMemory& memory, Reply* reply, Work work) {
  const v1::Mutation& mutation = request.mutation();
  auto it = memory.sessions.find(mutation.session());
  if (it == memory.sessions.end()) {
    if (mutation.number() != 1 || mutation.opened_after() < memory.forgotten_turn) {
      return SessionError(absl::StatusCode::kFailedPrecondition, "SESSION_UNKNOWN", 0);
    }
    it = memory.sessions.emplace(mutation.session(), Session()).first;
  }
  Session& session = it->second;
  if (mutation.number() == session.last_number) {
    reply->ParseFromString(session.reply);
    return grpc::Status::OK;
  }
  if (mutation.number() != session.last_number + 1) {
    return SessionError(absl::StatusCode::kFailedPrecondition,
                        mutation.number() > session.last_number ? "STEP_OUT_OF_ORDER" : "STEP_TOO_OLD",
                        session.last_number);
  }
  memory.description.set_turn(memory.description.turn() + 1);
  work(memory);
  FillHeader(memory, reply->mutable_header());
  session.last_number = mutation.number();
  session.reply = reply->SerializeAsString();
  return grpc::Status::OK;
}

template <typename Request, typename Reply, typename Work>
grpc::Status FakeServer::Serve(const char* method, const Request& request, Reply* reply, Work work) {
  absl::MutexLock lock(&mu_);
  SeenCall& call = calls_.emplace_back();
  call.method = method;
  call.uid = request.memory().uid();
  bool mutates = false;
  if constexpr (requires { request.mutation(); }) {
    mutates = request.has_mutation();
    call.session = request.mutation().session();
    call.number = request.mutation().number();
    call.first_unacknowledged = request.mutation().first_unacknowledged();
    call.opened_after = request.mutation().opened_after();
  }
  const auto released = [&] { return !held_.contains(method); };
  mu_.Await(absl::Condition(&released));
  const std::optional<Fault> fault = NextFault(method);
  if (fault.has_value() && !fault->apply) return ToGrpc(*fault);

  const auto it = memories_.find(request.memory().name());
  if (it == memories_.end()) return NotFound();
  FakeMemory& memory = it->second;
  if (!request.memory().uid().empty() && request.memory().uid() != memory.description.uid()) {
    return ToGrpc({.code = absl::StatusCode::kFailedPrecondition, .reason = "STALE_MEMORY"});
  }
  grpc::Status status;
  if constexpr (requires { request.mutation(); }) {
    if (mutates) status = ServeMutation(request, memory, reply, work);
  }
  if (!mutates) {
    work(memory);
    FillHeader(memory, reply->mutable_header());
  }
  return fault.has_value() ? ToGrpc(*fault) : status;
}

template <typename Request, typename Work>
grpc::Status FakeServer::ServeStream(const char* method, const Request& request, Work work) {
  absl::MutexLock lock(&mu_);
  calls_.push_back({.method = method, .uid = request.memory().uid()});
  const std::optional<Fault> fault = NextFault(method);
  if (fault.has_value() && !fault->apply) return ToGrpc(*fault);
  const auto it = memories_.find(request.memory().name());
  if (it == memories_.end()) return NotFound();
  const v1::MemoryDescription& now = it->second.description;
  if ((!request.memory().uid().empty() && request.memory().uid() != now.uid()) ||
      (request.memory().has_epoch() && request.memory().epoch() != now.epoch())) {
    return ToGrpc({.code = absl::StatusCode::kFailedPrecondition, .reason = "STALE_MEMORY"});
  }
  const grpc::Status status = work(it->second, /*lost=*/fault.has_value());
  return fault.has_value() ? ToGrpc(*fault) : status;
}

}  // namespace evoke::client
