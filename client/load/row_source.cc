#include "client/load/row_source.h"

#include <cstring>

#include "client/load/random_bits.h"

namespace evoke::load {
namespace {

constexpr uint64_t kCenters = 0xCE27E5;  // a stream of their own

// Two numbers in [-1, 1) with 24 bits each, exact in float32.
struct Pair {
  explicit Pair(uint64_t bits)
      : low(static_cast<float>(static_cast<int32_t>(bits & 0xFFFFFF) - 0x800000) * 0x1p-23f),
        high(static_cast<float>(static_cast<int32_t>((bits >> 32) & 0xFFFFFF) - 0x800000) * 0x1p-23f) {}
  float low, high;
};

}  // namespace

RowSource::RowSource(const Options& options)
    : options_(options),
      spread_(static_cast<float>(options.spread)),
      zipf_(options.values - 1, options.zipf.value_or(2.0)) {}

int64_t RowSource::FillRow(uint64_t stream, uint64_t number, float* row) const {
  RandomBits noise(options_.seed, stream, number);
  // The product of a random 64-bit fraction and n; its bias, n / 2^64, is below anything that can be
  // measured.
  absl::zipf_distribution<int64_t> zipf = zipf_;  // its draws are not const, though they change nothing
  const int64_t value =
      options_.zipf.has_value()
          ? zipf(noise)
          : static_cast<int64_t>(
                (static_cast<unsigned __int128>(noise()) * static_cast<uint64_t>(options_.values)) >> 64);
  RandomBits center(options_.seed, kCenters, static_cast<uint64_t>(value));
  for (uint32_t e = 0; e < options_.dim; e += 2) {
    const Pair c(center());
    const Pair n(noise());
    row[e] = c.low + spread_ * n.low;
    if (e + 1 < options_.dim) row[e + 1] = c.high + spread_ * n.high;
  }
  return value;
}

void RowSource::Fill(uint64_t stream, uint64_t first, uint32_t rows, std::string* embeddings,
                     std::string* values) const {
  embeddings->resize(size_t{rows} * options_.dim * sizeof(float));
  if (values != nullptr) values->resize(size_t{rows} * sizeof(int64_t));
  float* row = reinterpret_cast<float*>(embeddings->data());  // the bytes of a string are aligned to 8
  for (uint32_t i = 0; i < rows; ++i, row += options_.dim) {
    const int64_t value = FillRow(stream, first + i, row);
    if (values != nullptr) std::memcpy(values->data() + size_t{i} * sizeof value, &value, sizeof value);
  }
}

void RowSource::Fill(uint64_t stream, uint64_t first, uint32_t rows, std::string* embeddings) const {
  Fill(stream, first, rows, embeddings, nullptr);
}

}  // namespace evoke::load
