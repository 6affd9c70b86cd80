// Keys to and from their positions, 16 bytes a thread.
#pragma once

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/primitives.h"

namespace evoke::gpu {

struct alignas(16) Piece {
  uint32_t of[4];
};

// The pieces of one plane's row are neighbors, and so are those of rows.
inline constexpr uint32_t PiecesOfPlane(uint32_t stride) { return stride / 8; }
// Blocks that give every piece of every row a thread.
inline constexpr uint64_t MoveBlocks(uint64_t rows, uint32_t stride) {
  return (rows * PiecesOfPlane(stride) + kBlockThreads - 1) / kBlockThreads;
}

template <typename T>
EVOKE_DEVICE Piece* PieceAt(T* plane, uint64_t row, uint32_t stride, uint32_t piece) {
  return reinterpret_cast<Piece*>(plane + row * stride) + piece;
}

EVOKE_DEVICE void ClearKernel(const ClearArgs& args) {
  const uint32_t pieces = PiecesOfPlane(args.keys.stride);
  const uint64_t at = uint64_t{BlockIndex()} * kBlockThreads + ThreadIndex();
  if (at >= uint64_t{args.count} * pieces) return;
  const uint64_t row = args.first + at / pieces;
  const auto piece = static_cast<uint32_t>(at % pieces);
  constexpr uint32_t kTwice = uint32_t{kDeadHigh} << 16 | kDeadHigh;
  *PieceAt(args.keys.high, row, args.keys.stride, piece) = {kTwice, kTwice, kTwice, kTwice};
  *PieceAt(args.keys.low, row, args.keys.stride, piece) = {0, 0, 0, 0};
}

// kToKeys: packed rows to their positions; else back. A position that comes twice has the same row twice.
template <bool kToKeys>
EVOKE_DEVICE void MoveKernel(const MoveArgs& args) {
  const uint32_t stride = args.keys.stride;
  const uint32_t pieces = PiecesOfPlane(stride);
  const uint64_t at = uint64_t{BlockIndex()} * kBlockThreads + ThreadIndex();
  if (at >= uint64_t{args.count} * pieces) return;
  const uint64_t row = at / pieces;
  const auto piece = static_cast<uint32_t>(at % pieces);
  const uint32_t position = args.positions[row];
  Piece* const key_high = PieceAt(args.keys.high, position, stride, piece);
  Piece* const key_low = PieceAt(args.keys.low, position, stride, piece);
  Piece* const packed_high = PieceAt(args.packed.high, row, stride, piece);
  Piece* const packed_low = PieceAt(args.packed.low, row, stride, piece);
  if constexpr (kToKeys) {
    *key_high = *packed_high;
    *key_low = *packed_low;
  } else {
    *packed_high = *key_high;
    *packed_low = *key_low;
  }
}

}  // namespace evoke::gpu
