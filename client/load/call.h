// One request and its reply, of any method.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "client/load/method.h"
#include "evoke/v1/memory_service.pb.h"
#include "grpcpp/client_context.h"

namespace evoke::load {

// Only the messages of `method` mean anything; those of the other methods wait to be used again, with what
// they have allocated. Must not move or change while it is on the wire. Thread-compatible.
struct Call {
  Method method = Method::kQuery;
  v1::QueryRequest query;
  v1::QueryResponse query_reply;
  v1::UpdateRequest update;
  v1::UpdateResponse update_reply;
  v1::TrainStepRequest train_step;
  v1::TrainStepResponse train_step_reply;
  std::unique_ptr<grpc::ClientContext> context;  // of the attempt under way; the target's

  v1::MemoryRef* memory();
  // Requires: Writes(method).
  v1::Mutation* mutation();
  uint32_t rows() const;
  const v1::ReplyHeader& reply_header() const;
  uint32_t reply_rows() const;
  // Outcome of each row, a byte each; empty for reads.
  absl::string_view outcomes() const;
  // The reply as the server stores it: without what is added on sending.
  std::string StoredReply() const;
  void ClearReply();
};

}  // namespace evoke::load
