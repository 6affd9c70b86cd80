#include "client/load/call.h"

namespace evoke::load {
namespace {

// Runs `function` on the messages of a call's method: request, reply.
template <typename CallType, typename Function>
auto Visit(CallType& call, Function function) {
  switch (call.method) {
    case Method::kQuery:
      return function(call.query, call.query_reply);
    case Method::kUpdate:
      return function(call.update, call.update_reply);
    case Method::kTrainStep:
      break;
  }
  return function(call.train_step, call.train_step_reply);
}

}  // namespace

v1::MemoryRef* Call::memory() {
  return Visit(*this, [](auto& request, auto&) { return request.mutable_memory(); });
}

v1::Mutation* Call::mutation() {
  return method == Method::kUpdate ? update.mutable_mutation() : train_step.mutable_mutation();
}

uint32_t Call::rows() const {
  return Visit(*this, [](const auto& request, const auto&) { return request.embeddings().rows(); });
}

const v1::ReplyHeader& Call::reply_header() const {
  return *Visit(*this, [](const auto&, const auto& reply) { return &reply.header(); });
}

uint32_t Call::reply_rows() const {
  return Visit(*this, [](const auto&, const auto& reply) { return reply.rows(); });
}

absl::string_view Call::outcomes() const {
  if (method == Method::kQuery) return {};
  return method == Method::kUpdate ? update_reply.outcomes() : train_step_reply.outcomes();
}

std::string Call::StoredReply() const {
  return Visit(*this, [](const auto&, auto reply) {
    reply.mutable_header()->clear_instance();
    reply.mutable_header()->clear_term();
    return reply.SerializeAsString();
  });
}

void Call::ClearReply() {
  Visit(*this, [](auto&, auto& reply) { reply.Clear(); });
}

}  // namespace evoke::load
