// The traces of semantics.md section 8 as data, and their check on anything that behaves like a memory.
//
// A test wraps its subject in a MemoryUnderTest and calls the three Run functions: the oracle passes them,
// and so must the engine, whatever its shards, index, threads, and restarts between two calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/testing/model_memory.h"

namespace evoke::testing {

class MemoryUnderTest {
 public:
  virtual ~MemoryUnderTest() = default;
  // One request; possibly none of its rows writes. The traces read outcome, slot, loss, confidence, answered,
  // positive_found and negative_found of the results; the rest may be left as it is.
  virtual std::vector<ModelResult> Train(const std::vector<ModelRow>& rows) = 0;
  // The min(k, live) nearest slots; the traces read all fields but `weight`.
  virtual std::vector<ModelNeighbor> Query(const std::vector<float>& x, int k) = 0;
  virtual void Clear() = 0;
  // 32 hex digits.
  virtual std::string StateHash() = 0;
  virtual uint64_t Step() = 0;
};

using MemoryFactory = std::function<std::unique_ptr<MemoryUnderTest>(const ModelSpec&)>;

// The oracle as a MemoryUnderTest.
std::unique_ptr<MemoryUnderTest> MakeModelUnderTest(const ModelSpec& spec);

// "hit:0 free:1 dropped none"
std::string OutcomesToString(const std::vector<ModelResult>& results);

// "Seven steps by hand".

struct GoldenStep {
  double degrees;
  int64_t value;
  std::vector<uint64_t> neighbor_slots;  // before the step
  std::vector<int64_t> neighbor_values;
  std::vector<double> similarities;
  double loss;
  std::optional<double> confidence;
  Outcome outcome;
  uint64_t slot;
  double key_degrees;          // of `slot`, after the step
  std::vector<uint64_t> ages;  // of the live slots after the step, ascending slot
};

ModelSpec GoldenSpec();
const std::vector<GoldenStep>& GoldenSteps();
std::vector<float> AtDegrees(double degrees);  // (float32(cos), float32(sin))

// "Hash trace".

struct ExpectedBatch {
  int batch;
  uint64_t step;         // after the batch
  std::string hash;      // after the batch
  std::string outcomes;  // empty: not told
};

struct HashTrace {
  std::string name;
  ModelSpec spec;
  int clear_before = -1;   // the batch before which the memory is cleared; -1: never
  bool row_flags = false;  // write = false where (b + j) mod 5 = 4, skip where (b + 2j) mod 7 = 6
  std::vector<ExpectedBatch> expected;
};

inline constexpr int kHashTraceBatches = 40;
const std::vector<HashTrace>& HashTraces();
std::vector<ModelRow> HashTraceBatch(int batch, bool row_flags);

// "Corner cases".

struct CornerCase {
  std::string name;
  ModelSpec spec;
  bool starts_empty;  // else with the one-row batches (e0, 1) and (e1, 2)
  std::vector<ModelRow> last_batch;
  std::string outcomes;
  uint64_t step;
  std::string hash;
};

const std::vector<CornerCase>& CornerCases();
std::vector<std::vector<ModelRow>> BatchesOf(const CornerCase& corner_case);

// The checks, as EXPECTs; each memory is made by the factory.

void RunGoldenTrace(const MemoryFactory& make);
void RunHashTraces(const MemoryFactory& make);
void RunCornerCases(const MemoryFactory& make);

}  // namespace evoke::testing
