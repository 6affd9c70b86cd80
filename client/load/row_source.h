// Embeddings and their right answers, as a trained network might make them: clusters, one a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/random/zipf_distribution.h"

namespace evoke::load {

// Row `number` of stream `stream` is a function of these two and the options: its value is drawn uniformly,
// or by Zipf's law, from 0 to values - 1; its embedding is the center of that value, a random direction, plus
// noise. Embeddings of one value have a cosine of about 1 / (1 + spread^2) with each other, of different
// values about 0.
//
// A value; thread-safe, as it never changes. About 1.5 ns a component.
class RowSource {
 public:
  struct Options {
    uint32_t dim = 0;            // floats of a row; > 0
    int64_t values = 1;          // how many there are; > 0
    std::optional<double> zipf;  // exponent, > 1: value v comes about (v + 1)^-zipf times as often as value 0
    double spread = 0.5;         // of the noise, against a center of length 1; >= 0
    uint64_t seed = 0;
  };
  explicit RowSource(const Options& options);

  // Rows first, first + 1, ... of the stream: `embeddings` [rows, dim] float32 and `values` int64 [rows], as
  // the protos want them. Replaces what these hold.
  void Fill(uint64_t stream, uint64_t first, uint32_t rows, std::string* embeddings,
            std::string* values) const;
  // The embeddings alone.
  void Fill(uint64_t stream, uint64_t first, uint32_t rows, std::string* embeddings) const;

  uint32_t dim() const { return options_.dim; }

 private:
  // Returns the value.
  int64_t FillRow(uint64_t stream, uint64_t number, float* row) const;

  const Options options_;
  const float spread_;
  const absl::zipf_distribution<int64_t> zipf_;  // used with Options::zipf only
};

}  // namespace evoke::load
