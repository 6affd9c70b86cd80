#include "server/similarity/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "server/similarity/age_noise.h"
#include "server/similarity/gradient.h"
#include "server/similarity/similarity.h"
#include "server/similarity/softmax.h"

namespace evoke {
namespace {

// Tails of every kind of length, and the sizes that tiles treat differently.
constexpr int kDims[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 64, 100, 128, 257, 1024};
constexpr size_t kQueries = 7;  // a whole tile and a part of one, on every path
constexpr size_t kKeys = 13;

// The inputs come from integer arithmetic alone and are exact in float32, so that only what is tested rounds.
class Inputs {
 public:
  uint32_t Draw() {  // PCG's multiplier; the high half of a linear congruential generator
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  // An integer of 24 bits and a sign, times 2^exponent.
  float Number(int exponent) {
    const int32_t integer = static_cast<int32_t>(Draw() >> 7) - (1 << 24);
    return static_cast<float>(integer) * Power(exponent);
  }
  // Rows of several kinds: of one size; of very different sizes; down to where products are subnormal or
  // vanish, so that flushing is noticed, and -0; the last kind has exact -0s too.
  std::vector<float> Rows(size_t rows, int dim) {
    std::vector<float> x(rows * static_cast<size_t>(dim));
    for (size_t i = 0; i < x.size(); ++i) {
      switch (i / static_cast<size_t>(dim) % 3) {
        case 0:
          x[i] = Number(-24);
          break;
        case 1:
          x[i] = Number(-24 - static_cast<int>(Draw() % 40));
          break;
        default:
          x[i] = i % 5 == 4 ? -0.0f : Number(-96);
      }
    }
    return x;
  }

 private:
  static float Power(int exponent) {
    float power = 1.0f;
    for (; exponent < 0; ++exponent) power *= 0.5f;
    return power;
  }
  uint64_t state_ = 1;
};

class Bytes {
 public:
  template <typename T>
  void Add(absl::Span<const T> values) {
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  template <typename T>
  void AddOne(T value) {
    Add(absl::Span<const T>(&value, 1));
  }
  const std::string& str() const { return bytes_; }

 private:
  std::string bytes_;
};

// Everything a path computes itself.
std::string PathBattery(const SimilarityKernels& path) {
  Inputs inputs;
  Bytes bytes;
  for (const int dim : kDims) {
    const size_t stride = static_cast<size_t>(dim) + 3;  // rows unaligned
    const std::vector<float> queries = inputs.Rows(kQueries, static_cast<int>(stride));
    const std::vector<float> keys = inputs.Rows(kKeys, static_cast<int>(stride));
    std::vector<const float*> rows;
    for (size_t i = 0; i < kKeys; ++i) rows.push_back(&keys[(i * 5 % kKeys) * stride]);
    std::vector<float> out(kQueries * kKeys);
    path.block(queries.data(), stride, kQueries, keys.data(), stride, kKeys, dim, out.data(), kKeys);
    bytes.Add<float>(out);
    for (size_t q = 0; q < kQueries; ++q) {
      const float* query = &queries[q * stride];
      path.many(query, keys.data(), stride, kKeys, dim, out.data());
      bytes.Add<float>(absl::MakeSpan(out).first(kKeys));
      path.gather(query, rows.data(), kKeys, dim, out.data());
      bytes.Add<float>(absl::MakeSpan(out).first(kKeys));
      bytes.AddOne(path.similarity(query, rows[q], dim));
      bytes.AddOne(path.similarity(query, query, dim));
    }
  }
  return bytes.str();
}

void AddVectors(Bytes& bytes) {
  Inputs inputs;
  for (const int dim : kDims) {
    const size_t d = static_cast<size_t>(dim);
    const std::vector<float> x = inputs.Rows(4, dim);
    std::vector<float> q(d), key(d), out(d);
    float norm = 0;
    bytes.AddOne(NormaliseEmbedding(&x[0], dim, q.data(), &norm));
    bytes.AddOne(norm);
    Normalise(&x[d], dim, key.data());
    bytes.Add<float>(q);
    bytes.Add<float>(key);
    const MarginSide positive = {key.data(), Similarity(q.data(), key.data(), dim)};
    const MarginSide negative = {&x[3 * d], Similarity(q.data(), &x[3 * d], dim)};
    const float loss = MarginLoss(positive.similarity, negative.similarity, 2.1f);
    bytes.AddOne(loss);
    LossGradient(q.data(), norm, positive, negative, loss, dim, out.data());
    bytes.Add<float>(out);
    const float* const keys[] = {key.data(), &x[3 * d], q.data()};
    const double weights[] = {0.7, 0.2, 0.1};
    ConfidenceGradient(q.data(), norm, keys, weights, 40.0, dim, out.data());
    bytes.Add<float>(out);
    for (int i = 0; i < 3; ++i) Reinforce(key.data(), q.data(), dim);
    bytes.Add<float>(key);
  }
}

void AddScalars(Bytes& bytes) {
  for (int i = -48000; i <= 46000; i += 17) bytes.AddOne(Exp(i / 64.0));
  std::vector<float> similarities;
  for (int i = 0; i < 256; ++i) similarities.push_back(static_cast<float>(512 - i * i / 128) / 512.0f);
  std::vector<double> weights(similarities.size());
  for (const double t : {0.125, 1.0, 40.0, 39.36, 5000.0}) {
    Softmax(similarities, t, absl::MakeSpan(weights));
    bytes.Add<double>(weights);
    bytes.AddOne(Confidence(weights));
  }
  for (uint64_t i = 0; i < 64; ++i) bytes.AddOne(NoiseDraw(i % 3 == 0 ? 42 : ~i, i << (i % 50), i * i));
}

void AddOrder(Bytes& bytes) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  std::vector<Rank> ranks;
  for (const float s : {0.5f, -0.0f, 1.0f, 0.0f, -kTiny, -0.5f, kTiny, 0.0f, -0.0f, 0.5f}) {
    ranks.push_back({s, (ranks.size() * 7 + 3) % 10});
  }
  std::sort(ranks.begin(), ranks.end(), Before);
  for (const Rank& rank : ranks) bytes.AddOne(rank.slot);
}

}  // namespace

uint64_t FingerprintOf(absl::Span<const SimilarityKernels* const> paths) {
  const std::string first = PathBattery(*paths[0]);
  bool equal = true;
  for (const SimilarityKernels* path : paths.subspan(1)) equal &= PathBattery(*path) == first;

  Bytes bytes;
  bytes.Add<char>(first);
  AddVectors(bytes);
  AddScalars(bytes);
  AddOrder(bytes);
  if (!equal) bytes.Add<char>("paths disagree");
  return XXH3_64bits(bytes.str().data(), bytes.str().size());
}

uint64_t ArithmeticFingerprint() {
  std::vector<const SimilarityKernels*> paths;
  for (const SimdPath path : AvailablePaths()) paths.push_back(&KernelsFor(path));
  return FingerprintOf(paths);
}

}  // namespace evoke
