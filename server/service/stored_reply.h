// The bytes of a mutation's reply as they are sent: those that were stored, and the header fields that only this server
// knows (proto/README.md, "Stored replies").
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <utility>

#include "server/service/convert.h"
#include "server/service/service_context.h"

namespace evoke {

// `stored` is not copied.
inline grpc::ByteBuffer StoredReply(std::string stored, const ServiceContext& shared) {
  const auto owning = [](std::string bytes) {
    auto* owned = new std::string(std::move(bytes));
    return grpc::Slice(owned->data(), owned->size(), [](void* s) { delete static_cast<std::string*>(s); }, owned);
  };
  const grpc::Slice slices[] = {owning(std::move(stored)), owning(EncodeHeaderPatch(shared.instance, shared.term))};
  return grpc::ByteBuffer(slices, 2);
}

}  // namespace evoke
