// Calls that tell their progress and end with a message that has the snapshot. Internal.
#pragma once

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "evoke/connection.h"
#include "evoke/error_details.h"
#include "evoke/memory.h"
#include "grpcpp/support/sync_stream.h"

namespace evoke::client {

// A method of AdminService that answers with a stream, and what errors call it.
template <typename Request, typename Reply>
struct LongRpc {
  absl::string_view name;
  std::unique_ptr<grpc::ClientReader<Reply>> (v1::AdminService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&);
};

// One attempt; `last` becomes the last message.
template <typename Request, typename Reply>
grpc::Status ReadToEnd(const LongRpc<Request, Reply>& rpc, Connection::Stubs& stubs,
                       grpc::ClientContext* context, const Request& request, const Progress& progress,
                       Reply* last) {
  last->Clear();
  const std::unique_ptr<grpc::ClientReader<Reply>> reader = ((*stubs.admin).*rpc.method)(context, request);
  for (Reply message; reader->Read(&message); *last = std::move(message)) {
    if (progress == nullptr || !message.has_progress()) continue;
    progress(message.progress().phase(), message.progress().done(), message.progress().total());
  }
  const grpc::Status status = reader->Finish();
  if (status.ok() && !last->has_snapshot())
    return {grpc::StatusCode::INTERNAL, "the reply ended without a result"};
  return status;
}

// All attempts, until the long deadline. `report` may be null.
template <typename Request, typename Reply>
absl::Status LongCall(Connection& connection, const LongRpc<Request, Reply>& rpc, absl::string_view of,
                      const Request& request, const LongCallOptions& options, Reply* last,
                      Connection::Report* report = nullptr) {
  const absl::StatusOr<absl::Time> deadline = connection.LongDeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  return connection.Run(
      absl::StrCat(rpc.name, " of ", of), *deadline,
      [&](Connection::Stubs& stubs, grpc::ClientContext* context) {
        return ReadToEnd(rpc, stubs, context, request, options.progress, last);
      },
      report, Connection::AttemptTime::kAll);
}

}  // namespace evoke::client
