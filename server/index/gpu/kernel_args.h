// What the host tells the kernels of the fused scan, and the numbers that both have to agree on. Plain data; pointers are
// to device memory unless they say otherwise.
//
// Keys lie as the host has them, in two planes (server/similarity/split_vector.h), `stride` components apart: the
// dimension rounded up to 16, with zeros beyond it. A position that holds no live key has a NaN in all components of the
// high plane: its scores are NaN, which reaches no threshold and is no maximum, so that nothing else need ask who lives.
// The number of positions is a multiple of kTileKeys.
#pragma once

#include <cstddef>
#include <cstdint>

namespace evoke::gpu {

inline constexpr uint32_t kTileKeys = 128;      // keys that a block scores at a time
inline constexpr uint32_t kChunk = 64;          // components of them that one stage of the pipeline holds
inline constexpr uint32_t kBlockThreads = 256;  // of every kernel
inline constexpr uint32_t kWarp = 32;
inline constexpr uint32_t kAccumulators = 16;   // of the canonical sum; what `stride` is a multiple of
inline constexpr uint16_t kDeadHigh = 0x7fc0;   // NaN in bfloat16
inline constexpr uint32_t kMaxWant = 1024;
inline constexpr uint32_t kMaxPositions = uint32_t{1} << 31;

struct Planes {
  uint16_t* high = nullptr;
  int16_t* low = nullptr;
  uint32_t stride = 0;  // components
};

// Positions first .. first + count - 1 hold no live key.
struct ClearArgs {
  Planes keys;
  uint32_t first = 0;
  uint32_t count = 0;
};

// Row i of `packed` is for positions[i], or (gather) is to be filled from there.
struct MoveArgs {
  Planes keys;
  Planes packed;  // of the same stride
  const uint32_t* positions = nullptr;
  uint32_t count = 0;
};

// A key whose rough score reached the threshold of a row.
struct Found {
  float score;
  uint32_t position;
};

// Scores of `rows` against the tiles 0, step, 2 step, ... of the keys.
struct ScanArgs {
  const uint16_t* keys = nullptr;  // the high plane
  const uint16_t* rows = nullptr;  // bfloat16, [rows of the shape, stride], zeros beyond row_count
  uint32_t stride = 0;
  uint32_t tiles = 0;
  uint32_t tile_step = 1;
  uint32_t row_count = 0;
  // A sample writes to maxima[row * groups + ...] the best score of each group of keys, and nothing else.
  float* maxima = nullptr;
  uint32_t groups = 0;
  // Without `maxima`: scores that reach thresholds[row] go to found[row * capacity + ...]. counts[row] counts also those
  // that found no place any more. Thresholds of rows beyond row_count, up to those of the shape, are +infinity.
  const float* thresholds = nullptr;
  uint32_t* counts = nullptr;
  Found* found = nullptr;
  uint32_t capacity = 0;
};

// One row of a search.
struct RowArgs {
  uint64_t maxima = 0;    // where its maxima begin
  uint32_t groups = 0;    // and how many there are
  uint32_t rank = 0;      // the first threshold is the rank-th best of them, less the margin; 0: it is `threshold`
  uint32_t want = 0;      // 0: nobody asks for this row
  uint32_t result = 0;    // where in DecideArgs::results its `want` candidates go
  float margin = 0;       // at least twice how far a rough score can lie from the canonical similarity
  float threshold = 0;
};

// Effect: thresholds[row] and counts[row] = 0, for each row.
struct BeginArgs {
  const RowArgs* rows = nullptr;
  const float* maxima = nullptr;
  float* thresholds = nullptr;
  uint32_t* counts = nullptr;
};

enum class Decision : uint32_t {
  kCertified,  // results are the exact answer
  kTooHigh,    // the threshold was: keys of the answer may lie below it
  kTooMany,    // keys reached it than a list holds
};

struct Outcome {
  Decision decision;
  // For another attempt: a threshold that no key of the answer scores below; NaN when nothing is known.
  float threshold;
  float used;      // the threshold of this attempt
  uint32_t found;  // keys that reached it
};

struct Answer {
  uint32_t position;
  float similarity;
};

struct DecideArgs {
  Planes keys;
  const RowArgs* rows = nullptr;
  const float* embeddings = nullptr;  // [rows, stride] float32, +0 beyond the dimension
  const float* thresholds = nullptr;
  const uint32_t* counts = nullptr;
  const Found* found = nullptr;
  uint32_t capacity = 0;  // a power of two, at least every `want`
  // In the host's memory, so that answers cross the bus while other rows are decided.
  Outcome* outcomes = nullptr;
  Answer* results = nullptr;
};

}  // namespace evoke::gpu
