// One number for all arithmetic that decides what a memory stores and answers.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "server/similarity/kernels.h"

namespace evoke {

// What ArithmeticFingerprint() returns where compiler, flags and machine compute as semantics.md says. It
// changes only with the semantics; state written by a build with another constant must not be continued.
inline constexpr uint64_t kArithmeticFingerprint = 0x16a68ee5616e2b19;

// XXH3-64 over a fixed battery: similarity (one, many, block, gather) on every path this machine has,
// normalise, reinforce, exp, softmax, gradients, noise, and the order of neighbors with ties and -0.
// Independent of which paths the machine has, but different from the constant if two of them disagree, if
// rounding or subnormals are not IEEE's, or if the compiler fused what it should not. Takes under 10 ms;
// called at start, where a mismatch refuses to serve.
uint64_t ArithmeticFingerprint();

// The same over the given paths, the first of which sets the bits. Tests pass broken ones.
uint64_t FingerprintOf(absl::Span<const SimilarityKernels* const> paths);

}  // namespace evoke
