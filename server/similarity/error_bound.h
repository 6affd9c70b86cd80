// How far a float32 inner product can lie from the true one: what an exact index's certificate is made of.
//
// All results are float64, rounded outward, and infinite where float32 could overflow. `norm_a` and `norm_b`
// are upper bounds of the true Euclidean norms of the vectors (float64; see UnitNormBound). Pure.
#pragma once

namespace evoke {

// |Similarity(a, b) - true inner product| is at most this.
double SimilarityErrorBound(int dim, double norm_a, double norm_b);

// |s - Similarity(a, b)| is at most this for every s computed in float32 from the same vectors, whatever the
// order of summation, fused or not, flushing subnormals to zero or not: sgemm, FAISS, a GPU in float32 (not
// TF32). So whoever has s >= t for a canonical similarity t loses nothing by keeping all s > t - bound.
double SgemmErrorBound(int dim, double norm_a, double norm_b);

// The same where each vector was first replaced by another one, at most `rounding_a` and `rounding_b` away: a, b of norms
// `norm_a`, `norm_b`, rounded to bfloat16 and their inner product summed in float32, lies that close to Similarity(a, b).
double RoughErrorBound(int dim, double norm_a, double rounding_a, double norm_b, double rounding_b);

// RoughErrorBound for the matrix units of a GPU, with components of at most 11 significant bits (float16, bfloat16): they
// take exact products but cut sums off instead of rounding them. Not TF32, nor float32 put together from such parts.
double TensorCoreErrorBound(int dim, double norm_a, double rounding_a, double norm_b, double rounding_b);

// The true norm of a vector that Normalise or Reinforce made lies within 1 -+ this (semantics.md, section 7,
// invariant 1, with its second-order terms).
double UnitNormError(int dim);

// 1 + UnitNormError(dim): what to pass as the norm of a key or of a normalised query.
double UnitNormBound(int dim);

}  // namespace evoke
