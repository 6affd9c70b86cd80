#include "server/service/convert_rows.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

// 0 for a type that is not taken.
size_t ElementSize(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT32:
      return 4;
    case v1::DTYPE_FLOAT16:
    case v1::DTYPE_BFLOAT16:
      return 2;
    default:
      return 0;
  }
}

template <float (*Widen)(uint16_t)>
void WidenRow(const char* from, uint32_t dim, float* to) {
  for (uint32_t i = 0; i < dim; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    to[i] = Widen(bits);
  }
}

}  // namespace

float WidenFloat16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t fraction = half & 1023u;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, which a binary32 holds exactly
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f));
  }
  const uint32_t wide_exponent = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

float WidenBfloat16(uint16_t upper) {
  return std::bit_cast<float>(uint32_t{upper} << 16);
}

absl::Status CheckShape(const char* what, const v1::Matrix& matrix, const Target& target) {
  if (matrix.rows() == 0)
    return BadShape(absl::StrCat(what, " has no rows, memory \"", target.memory, "\" expects at least 1"));
  if (matrix.rows() > target.limits.max_rows) {
    return TooLarge("embeddings.rows",
                    absl::StrCat("rows of a ", what, " for memory \"", target.memory, "\""), matrix.rows(),
                    target.limits.max_rows);
  }
  if (matrix.dim() != target.spec.key_dim) {
    return BadShape(absl::StrCat(what, " has ", matrix.dim(), " dimensions, memory \"", target.memory,
                                 "\" expects ", target.spec.key_dim));
  }
  const size_t element = ElementSize(matrix.dtype());
  if (element == 0) {
    return BadShape(absl::StrCat(what, " has embeddings of dtype ", static_cast<int>(matrix.dtype()),
                                 ", float32, float16 and bfloat16 are taken"));
  }
  const uint64_t expected = uint64_t{matrix.rows()} * matrix.dim() * element;
  if (matrix.data().size() != expected) {
    return BadShape(absl::StrCat(what, " has ", matrix.data().size(), " bytes of embeddings, ", matrix.rows(),
                                 " rows of ", matrix.dim(), " dimensions take ", expected));
  }
  return absl::OkStatus();
}

absl::StatusOr<RowSet> DecodeRows(const v1::Matrix& matrix, std::string_view skip) {
  RowSet rows{.dim = matrix.dim()};
  EVOKE_ASSIGN_OR_RETURN(rows.skip, UnpackBits("skip", skip, matrix.rows(), 0));
  rows.unit.resize(size_t{matrix.rows()} * matrix.dim());
  const size_t row_bytes = matrix.dim() * ElementSize(matrix.dtype());
  for (uint32_t row = 0; row < matrix.rows(); ++row) {
    if (rows.skip[row]) continue;
    const char* from = matrix.data().data() + row * row_bytes;
    float* to = rows.unit.data() + size_t{row} * matrix.dim();
    if (matrix.dtype() == v1::DTYPE_FLOAT32) {
      std::memcpy(to, from, row_bytes);
    } else if (matrix.dtype() == v1::DTYPE_FLOAT16) {
      WidenRow<WidenFloat16>(from, matrix.dim(), to);
    } else {
      WidenRow<WidenBfloat16>(from, matrix.dim(), to);
    }
  }
  return rows;
}

absl::Status NormaliseRows(const char* what, const std::string& memory, RowSet* rows) {
  rows->norms.assign(rows->count(), 0.0f);
  for (uint32_t row = 0; row < rows->count(); ++row) {
    if (rows->skip[row]) continue;
    float* x = rows->unit.data() + size_t{row} * rows->dim;
    switch (NormaliseEmbedding(x, static_cast<int>(rows->dim), x, &rows->norms[row])) {
      case RowCheck::kOk:
        break;
      case RowCheck::kNonFinite:
        return MakeError(absl::StatusCode::kInvalidArgument,
                         absl::StrCat("row ", row, " of a ", what, " for memory \"", memory,
                                      "\" has a NaN or infinite component"),
                         {.reason = "NON_FINITE", .metadata = {{"row", absl::StrCat(row)}}});
      case RowCheck::kBadNorm:
        return MakeError(absl::StatusCode::kInvalidArgument,
                         absl::StrCat("row ", row, " of a ", what, " for memory \"", memory, "\" has norm ",
                                      Norm(x, static_cast<int>(rows->dim)), ", outside [1e-12, 1e18]"),
                         {.reason = "BAD_NORM", .metadata = {{"row", absl::StrCat(row)}}});
    }
  }
  return absl::OkStatus();
}

}  // namespace evoke
