// Requests that are right, to be made wrong in one place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evoke/v1/memory_service.pb.h"
#include "server/base/errors.h"
#include "server/memory/memory_spec.h"
#include "server/service/convert.h"

namespace evoke {

inline MemorySpec SmallSpec(uint32_t key_dim = 4, uint64_t capacity = 100) {
  MemorySpec spec;
  spec.key_dim = key_dim;
  spec.capacity = capacity;
  return spec;
}

// A memory "faces" with small limits. Lives as long as the targets that it gives.
struct Faces {
  std::string name = "faces";
  MemorySpec spec = SmallSpec();
  RequestLimits limits{.max_message_bytes = 1 << 20, .max_rows = 64, .max_k = 32};
  Target target() const { return Target{name, spec, limits}; }
};

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

inline v1::Matrix Rows(const std::vector<float>& data, uint32_t dim = 4) {
  v1::Matrix matrix;
  matrix.set_data(Raw(data));
  matrix.set_dtype(v1::DTYPE_FLOAT32);
  matrix.set_dim(dim);
  matrix.set_rows(static_cast<uint32_t>(data.size()) / dim);
  return matrix;
}

inline v1::QueryRequest TwoRowQuery() {
  v1::QueryRequest request;
  request.mutable_memory()->set_name("faces");
  *request.mutable_embeddings() = Rows({3, 0, 4, 0, 0, 1, 0, 0});
  return request;
}

// Update or TrainStep.
template <typename Request>
Request TwoRowObserve() {
  Request request;
  request.mutable_memory()->set_name("faces");
  *request.mutable_embeddings() = Rows({3, 0, 4, 0, 0, 1, 0, 0});
  request.set_values(Raw<int64_t>({7, -8}));
  request.mutable_mutation()->set_session(std::string(16, 's'));
  request.mutable_mutation()->set_number(1);
  return request;
}

// "INVALID_ARGUMENT/BAD_SHAPE", or "OK".
inline std::string CodeAndReason(const absl::Status& status) {
  if (status.ok()) return "OK";
  const auto detail = DetailOf(status);
  return absl::StatusCodeToString(status.code()) + "/" + (detail ? detail->reason : "");
}

inline std::string MetadataOf(const absl::Status& status, const std::string& key) {
  const auto detail = DetailOf(status);
  if (!detail || detail->metadata.count(key) == 0) return "";
  return detail->metadata.at(key);
}

}  // namespace evoke
