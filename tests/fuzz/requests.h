// What the targets of requests share: a small memory, requests of the right shape from any bytes, and what must hold
// of the rows that were taken.
//
// Raw bytes as a message hardly ever have the lengths that fit, so half of the inputs say numbers only, and the sizes
// are made to fit: what remains to be wrong is the numbers.
#pragma once

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "evoke/v1/memory_service.pb.h"
#include "server/base/errors.h"
#include "server/service/convert.h"
#include "server/similarity/similarity.h"
#include "storage/bytes.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {

// The message of these bytes, without a line on stderr for each that has text that is no UTF-8.
template <typename Request>
bool Parse(std::string_view bytes, Request* request) {
  const google::protobuf::LogSilencer quiet;
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// A memory that the input describes. Lives as long as its target() is used.
struct AnyMemory {
  explicit AnyMemory(ByteReader* in) {
    spec.key_dim = 1 + in->Take<uint8_t>() % 20;
    spec.capacity = 1 + in->Take<uint8_t>();
    spec.payload_history = in->Take<uint8_t>() % 5;
  }
  Target target() const { return Target{name, spec, limits}; }

  std::string name = "faces";
  MemorySpec spec;
  RequestLimits limits{.max_message_bytes = 1 << 16, .max_rows = 16, .max_k = 32};
};

// What follows in the input, and zeros behind its end.
inline std::string TakePadded(ByteReader* in, size_t size) {
  std::string bytes(in->TakeRaw(std::min(size, in->remaining())));
  bytes.resize(size);
  return bytes;
}

inline void FillMatrix(ByteReader* in, const AnyMemory& memory, v1::Matrix* matrix) {
  matrix->set_rows(1 + in->Take<uint8_t>() % memory.limits.max_rows);
  matrix->set_dim(memory.spec.key_dim);
  matrix->set_dtype(static_cast<v1::DType>(1 + in->Take<uint8_t>() % 3));
  const size_t element = matrix->dtype() == v1::DTYPE_FLOAT32 ? 4 : 2;
  matrix->set_data(TakePadded(in, matrix->rows() * matrix->dim() * element));
}

// Nothing, or a bit for each row.
inline std::string TakeBits(ByteReader* in, uint32_t rows) {
  const bool given = in->Take<uint8_t>() % 2 != 0;
  const uint32_t bits = in->Take<uint16_t>() & ((uint32_t{1} << rows) - 1);
  std::string bytes{static_cast<char>(bits), static_cast<char>(bits >> 8)};
  bytes.resize((rows + 7) / 8);
  return given ? bytes : "";
}

inline void FillMutation(ByteReader* in, v1::Mutation* mutation) {
  mutation->set_session(std::string(16, 's'));
  mutation->set_number(in->Take<uint8_t>());
  mutation->set_first_unacknowledged(in->Take<uint8_t>());
}

// What a conversion may answer to what it does not take.
inline void CheckRequestRefusal(const absl::Status& status) {
  EVOKE_CHECK(absl::IsInvalidArgument(status));
  const auto detail = DetailOf(status);
  EVOKE_CHECK(detail && !detail->reason.empty());
}

inline void CheckUnit(const float* row, uint32_t dim, float tolerance) {
  EVOKE_CHECK(std::all_of(row, row + dim, [](float x) { return std::isfinite(x); }));
  EVOKE_CHECK(std::abs(Norm(row, static_cast<int>(dim)) - 1) <= tolerance);
}

// Every row is a finite unit vector, or zeros where it is skipped.
inline void CheckRows(const RowSet& rows, const AnyMemory& memory) {
  EVOKE_CHECK(rows.dim == memory.spec.key_dim);
  EVOKE_CHECK(rows.count() >= 1 && rows.count() <= memory.limits.max_rows);
  EVOKE_CHECK(rows.unit.size() == size_t{rows.count()} * rows.dim);
  EVOKE_CHECK(rows.norms.size() == rows.count());
  for (uint32_t i = 0; i < rows.count(); ++i) {
    const float* row = rows.unit.data() + size_t{i} * rows.dim;
    EVOKE_CHECK(rows.skip[i] <= 1);
    if (rows.skip[i]) {
      EVOKE_CHECK(std::all_of(row, row + rows.dim, [](float x) { return x == 0; }));
    } else {
      CheckUnit(row, rows.dim, 1e-5f);
      EVOKE_CHECK(rows.norms[i] >= 1e-12f && rows.norms[i] <= 1e18f);
    }
  }
}

}  // namespace evoke::fuzz
