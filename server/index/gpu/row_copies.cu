#include <algorithm>

#include "server/index/gpu/row_copies.h"

namespace evoke {
namespace {

constexpr uint32_t kThreads = 256;
// Enough to fill any device; each thread takes several units when there are more.
constexpr uint64_t kMaxBlocks = 4096;

template <typename Unit, bool kScatter>
__global__ void CopyRows(Unit* matrix, Unit* rows, const uint32_t* positions, uint64_t units, uint32_t row_units) {
  const uint64_t stride = uint64_t{gridDim.x} * blockDim.x;
  for (uint64_t i = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < units; i += stride) {
    Unit* const place = matrix + uint64_t{positions[i / row_units]} * row_units + i % row_units;
    if (kScatter) {
      *place = rows[i];
    } else {
      rows[i] = *place;
    }
  }
}

template <typename Unit, bool kScatter>
absl::Status Launch(const RowCopy& copy, const Stream& stream) {
  const uint32_t row_units = copy.row_bytes / sizeof(Unit);
  const uint64_t units = uint64_t{copy.count} * row_units;
  const auto blocks = static_cast<uint32_t>(std::min<uint64_t>((units + kThreads - 1) / kThreads, kMaxBlocks));
  CopyRows<Unit, kScatter><<<blocks, kThreads, 0, stream.get()>>>(
      static_cast<Unit*>(copy.matrix), static_cast<Unit*>(copy.rows), copy.positions, units, row_units);
  return LaunchStatus(kScatter ? "scattering rows" : "gathering rows");
}

// The widest unit that divides a row: rows then begin at multiples of it too.
template <bool kScatter>
absl::Status Copy(const RowCopy& copy, const Stream& stream) {
  if (copy.count == 0 || copy.row_bytes == 0) return absl::OkStatus();
  if (copy.row_bytes % sizeof(uint4) == 0) return Launch<uint4, kScatter>(copy, stream);
  if (copy.row_bytes % sizeof(uint32_t) == 0) return Launch<uint32_t, kScatter>(copy, stream);
  return Launch<uint16_t, kScatter>(copy, stream);
}

}  // namespace

absl::Status ScatterRows(const RowCopy& copy, const Stream& stream) { return Copy<true>(copy, stream); }

absl::Status GatherRows(const RowCopy& copy, const Stream& stream) { return Copy<false>(copy, stream); }

}  // namespace evoke
