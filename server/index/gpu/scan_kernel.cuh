// The scan: rough scores of rows and keys by tensor cores, of which nothing leaves the registers but what reaches its
// row's threshold.
//
// A block takes every GridSize()-th tile of 128 keys. The keys' components come through shared memory in stages of 64,
// loaded ahead by asynchronous copies; a warp's scores of a tile stay in its registers over all stages of the tile.
//
//   device memory --CopyAsync--> stage --LoadMatrices--> fragments --MultiplyAdd--> scores --(>= threshold)--> queue --> lists
//
// Barriers: one a stage. It makes what all threads have copied visible to all, and says that nobody reads any more the
// stage that is loaded next, which is the one before. Hits wait in a queue in shared memory, because a place in a list
// costs a round trip to the second-level cache; the queue is emptied by all threads together, before a tile. A full queue
// costs time only.
//
// A line (64 components of a key or row, 128 bytes) has its pieces of 16 bytes exchanged by the line's number mod 8, so that
// the eight rows that LoadMatrices reads at once lie in different banks.
#pragma once

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/primitives.h"
#include "server/index/gpu/scan_shape.h"

namespace evoke::gpu {

EVOKE_DEVICE uint32_t PlaceInLines(uint32_t line, uint32_t piece) { return line * kLineBytes + (piece ^ (line & 7)) * 16; }

// `from`: components of `lines` keys or rows, of which the first `pieces` of 16 bytes exist.
template <uint32_t kLines>
EVOKE_DEVICE void CopyLines(const uint16_t* from, uint32_t stride, uint32_t pieces, char* to) {
  EVOKE_UNROLL
  for (uint32_t i = 0; i < (kLines * kPieces + kBlockThreads - 1) / kBlockThreads; ++i) {
    const uint32_t at = i * kBlockThreads + ThreadIndex();
    const uint32_t line = at / kPieces;
    const uint32_t piece = at % kPieces;
    if (line < kLines && piece < pieces) CopyAsync(to + PlaceInLines(line, piece), from + size_t{line} * stride + piece * 8);
  }
}

EVOKE_DEVICE uint32_t PiecesOf(uint32_t stride, uint32_t chunk) {
  const uint32_t left = stride / 8 - chunk * kPieces;
  return left < kPieces ? left : kPieces;
}

// scores += rows x keys, over the `steps` times 16 components of one chunk.
template <class Shape>
EVOKE_DEVICE void Multiply(const char* rows, const char* keys, uint32_t steps,
                           float (&scores)[Shape::kRowTiles][Shape::kKeyTiles][4]) {
  const uint32_t lane = ThreadIndex() % kWarp;
  const uint32_t warp = ThreadIndex() / kWarp;
  // Of a row tile: rows 0-7 and 8-15 of the first eight components, then of the second. Of two key tiles: both halves of the
  // components of the first, then of the second.
  const uint32_t row = warp / Shape::kKeyWarps * Shape::kWarpRows + lane % 16;
  const uint32_t row_piece = lane / 16;
  const uint32_t key = warp % Shape::kKeyWarps * Shape::kWarpKeys + lane / 16 * 8 + lane % 8;
  const uint32_t key_piece = lane / 8 % 2;
  EVOKE_UNROLL
  for (uint32_t step = 0; step < kChunk / 16; ++step) {
    if (step >= steps) break;
    uint32_t a[Shape::kRowTiles][4];
    EVOKE_UNROLL
    for (uint32_t r = 0; r < Shape::kRowTiles; ++r) {
      LoadMatrices(a[r], rows + PlaceInLines(row + r * 16, step * 2 + row_piece));
    }
    EVOKE_UNROLL
    for (uint32_t k = 0; k < Shape::kKeyTiles; k += 2) {
      uint32_t b[4];
      LoadMatrices(b, keys + PlaceInLines(key + k * 8, step * 2 + key_piece));
      EVOKE_UNROLL
      for (uint32_t r = 0; r < Shape::kRowTiles; ++r) {
        MultiplyAdd(scores[r][k], a[r], b[0], b[1]);
        MultiplyAdd(scores[r][k + 1], a[r], b[2], b[3]);
      }
    }
  }
}

// Of a lane's scores, [r][k][c] is of row RowOf(r, c / 2) and of the tile's key KeyOf(k, c % 2).
template <class Shape>
EVOKE_DEVICE uint32_t RowOf(uint32_t row_tile, uint32_t half) {
  const uint32_t warp = ThreadIndex() / kWarp;
  return warp / Shape::kKeyWarps * Shape::kWarpRows + row_tile * 16 + half * 8 + ThreadIndex() % kWarp / 4;
}
template <class Shape>
EVOKE_DEVICE uint32_t KeyOf(uint32_t key_tile, uint32_t odd) {
  const uint32_t warp = ThreadIndex() / kWarp;
  return warp % Shape::kKeyWarps * Shape::kWarpKeys + key_tile * 8 + ThreadIndex() % 4 * 2 + odd;
}

EVOKE_DEVICE void AppendToList(const ScanArgs& args, const Hit& hit) {
  const uint32_t place = AtomicAdd(args.counts + hit.row, 1);
  if (place < args.capacity) args.found[size_t{hit.row} * args.capacity + place] = {hit.score, hit.position};
}

// Requires: a barrier since the last hit was pushed, and one before the next.
EVOKE_DEVICE void Flush(const ScanArgs& args, const HitQueue& queue) {
  const uint32_t count = queue.count < kQueue ? queue.count : kQueue;
  for (uint32_t i = ThreadIndex(); i < count; i += kBlockThreads) AppendToList(args, queue.hits[i]);
}

// Returns the highest count of the queue that this thread has made, or `most` if that is higher.
template <class Shape>
EVOKE_DEVICE uint32_t KeepHits(const ScanArgs& args, const float (&scores)[Shape::kRowTiles][Shape::kKeyTiles][4],
                               const float (&thresholds)[Shape::kRowTiles][2], uint32_t first_key, HitQueue* queue,
                               uint32_t most) {
  EVOKE_UNROLL
  for (uint32_t r = 0; r < Shape::kRowTiles; ++r) {
    EVOKE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const float least = thresholds[r][half];
      bool any = false;  // rarely, so this comes first
      EVOKE_UNROLL
      for (uint32_t k = 0; k < Shape::kKeyTiles; ++k) {
        any |= scores[r][k][half * 2] >= least;
        any |= scores[r][k][half * 2 + 1] >= least;
      }
      if (any) {
        uint32_t hits = 0;
        EVOKE_UNROLL
        for (uint32_t i = 0; i < Shape::kKeyTiles * 2; ++i) {
          hits |= (scores[r][i / 2][half * 2 + i % 2] >= least ? 1u : 0u) << i;
        }
        while (hits != 0) {
          const uint32_t bit = LowestBit(hits);
          hits &= hits - 1;
          Hit hit{0, RowOf<Shape>(r, half), first_key + KeyOf<Shape>(bit / 2, bit % 2)};
          EVOKE_UNROLL
          for (uint32_t i = 0; i < Shape::kKeyTiles * 2; ++i) {  // registers have no index that is known later
            if (i == bit) hit.score = scores[r][i / 2][half * 2 + i % 2];
          }
          const uint32_t place = AtomicAdd(&queue->count, 1);
          if (place < kQueue) {
            queue->hits[place] = hit;
          } else {
            AppendToList(args, hit);
          }
          most = place + 1 > most ? place + 1 : most;
        }
      }
    }
  }
  return most;
}

// The best of each group of a tile: those of a row that one lane has scored.
template <class Shape>
EVOKE_DEVICE void KeepMaxima(const ScanArgs& args, const float (&scores)[Shape::kRowTiles][Shape::kKeyTiles][4],
                             uint32_t tile) {
  const uint32_t warp = ThreadIndex() / kWarp;
  const uint32_t group = tile * Shape::kGroupsATile + warp % Shape::kKeyWarps * 4 + ThreadIndex() % 4;
  EVOKE_UNROLL
  for (uint32_t r = 0; r < Shape::kRowTiles; ++r) {
    EVOKE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      float best = FloatOf(0xff800000u);
      EVOKE_UNROLL
      for (uint32_t i = 0; i < Shape::kKeyTiles * 2; ++i) {
        const float score = scores[r][i / 2][half * 2 + i % 2];
        best = score > best ? score : best;  // a NaN is not
      }
      const uint32_t row = RowOf<Shape>(r, half);
      if (row < args.row_count) args.maxima[size_t{row} * args.groups + group] = best;
    }
  }
}

// Requires: Shape::SharedBytes(stride) of shared memory.
template <class Shape>
EVOKE_DEVICE void ScanKernel(const ScanArgs& args) {
  char* const stages = SharedMemory();
  char* const resident = stages + size_t{Shape::kStages} * Shape::kStageBytes;
  HitQueue* const queue = reinterpret_cast<HitQueue*>(resident + Shape::RowBytes(args.stride));
  const uint32_t chunks = (args.stride + kChunk - 1) / kChunk;

  if constexpr (Shape::kResident) {  // waited for with the first stage
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      CopyLines<Shape::kRows>(args.rows + chunk * kChunk, args.stride, PiecesOf(args.stride, chunk),
                              resident + size_t{chunk} * Shape::kRows * kLineBytes);
    }
  }
  if (ThreadIndex() == 0) queue->count = 0;  // the first barrier of the loop is before the first hit
  uint32_t queued = 0;                       // what this thread knows of the queue's count
  float thresholds[Shape::kRowTiles][2];
  EVOKE_UNROLL
  for (uint32_t r = 0; r < Shape::kRowTiles; ++r) {
    EVOKE_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      thresholds[r][half] = args.maxima != nullptr ? 0 : args.thresholds[RowOf<Shape>(r, half)];
    }
  }

  // What is loaded next: a chunk of a tile, into a stage. Every call commits, so that waiting is counted alike to the end.
  uint32_t next_tile = BlockIndex();
  uint32_t next_chunk = 0;
  uint32_t next_stage = 0;
  const auto load = [&] {
    if (next_tile < args.tiles) {
      char* const stage = stages + size_t{next_stage} * Shape::kStageBytes;
      const uint32_t pieces = PiecesOf(args.stride, next_chunk);
      const size_t first_key = size_t{next_tile} * args.tile_step * kTileKeys;
      CopyLines<kTileKeys>(args.keys + first_key * args.stride + next_chunk * kChunk, args.stride, pieces, stage);
      if constexpr (!Shape::kResident) {
        CopyLines<Shape::kRows>(args.rows + next_chunk * kChunk, args.stride, pieces, stage + kTileKeys * kLineBytes);
      }
      if (++next_chunk == chunks) {
        next_chunk = 0;
        next_tile += GridSize();
      }
    }
    next_stage = next_stage + 1 == Shape::kStages ? 0 : next_stage + 1;
    CopyCommit();
  };
  for (uint32_t s = 0; s + 1 < Shape::kStages; ++s) load();

  uint32_t stage = 0;
  for (uint32_t tile = BlockIndex(); tile < args.tiles; tile += GridSize()) {
    float scores[Shape::kRowTiles][Shape::kKeyTiles][4] = {};
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      CopyWait<static_cast<int>(Shape::kStages) - 2>();
      // Whoever pushed last knows the whole count; all learn it, and take the same branch.
      const bool full = SyncOr(chunk == 0 && queued >= kFlushFrom);
      load();
      if (full) {
        Flush(args, *queue);
        Sync();
        if (ThreadIndex() == 0) queue->count = 0;
        queued = 0;
        Sync();
      }
      const char* const keys = stages + size_t{stage} * Shape::kStageBytes;
      const char* const rows =
          Shape::kResident ? resident + size_t{chunk} * Shape::kRows * kLineBytes : keys + kTileKeys * kLineBytes;
      Multiply<Shape>(rows, keys, PiecesOf(args.stride, chunk) / 2, scores);
      stage = stage + 1 == Shape::kStages ? 0 : stage + 1;
    }
    if (args.maxima != nullptr) {
      KeepMaxima<Shape>(args, scores, tile);
    } else {
      queued = KeepHits<Shape>(args, scores, thresholds, tile * args.tile_step * kTileKeys, queue, queued);
    }
  }
  CopyWait<0>();
  Sync();
  Flush(args, *queue);
}

}  // namespace evoke::gpu
