// Some rows of a search that go through the kernels together: in which passes, with what sample, and where all of it lies.
//
// Pure; plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/index/gpu/kernel_args.h"
#include "server/index/gpu/scan_shape.h"

namespace evoke::gpu {

struct SearchRound {
  static constexpr uint32_t kMostRows = 1024;

  struct Pass {  // of the scan
    ScanShape shape;
    uint32_t first = 0;  // of the round's rows
    uint32_t count = 0;
  };
  std::vector<uint32_t> places;  // in the request
  std::vector<RowArgs> args;     // of each, and of the rows that only the last pass's shape has
  std::vector<Pass> passes;
  uint32_t capacity = 0;  // of a list
  uint32_t samples = 0;   // tiles, tile_step apart; 0: no sample is taken
  uint32_t tile_step = 1;
  uint64_t maxima = 0;
  uint32_t answers = 0;
  int attempt = 1;

  // Effect: passes, capacity, answers, and where each row's answers go. Requires: places and args of the rows, with what
  // they want, are there.
  void PlanPasses(uint32_t stride, size_t shared_bytes);
  // Effect: samples, maxima, and each row's part of them with the rank of its guess. Requires: PlanPasses.
  void PlanSample(uint32_t positions);

  auto count() const { return static_cast<uint32_t>(places.size()); }
  auto padded() const { return static_cast<uint32_t>(args.size()); }
  // Offsets in the inputs: rows in bfloat16, in float32, their arguments.
  static size_t float_rows(uint32_t rows, uint32_t stride) { return size_t{rows} * stride * sizeof(uint16_t); }
  static size_t row_args(uint32_t rows, uint32_t stride) { return float_rows(rows, stride) * 3; }
  size_t input_bytes(uint32_t stride) const { return row_args(padded(), stride) + padded() * sizeof(RowArgs); }
  // In the lists: them, thresholds, counts.
  size_t thresholds() const { return size_t{padded()} * capacity * sizeof(Found); }
  size_t counts() const { return thresholds() + padded() * sizeof(float); }
  size_t list_bytes() const { return counts() + padded() * sizeof(uint32_t); }
  // In the outputs: outcomes, answers.
  size_t results() const { return count() * sizeof(Outcome); }
  size_t output_bytes() const { return results() + answers * sizeof(Answer); }
};

}  // namespace evoke::gpu
