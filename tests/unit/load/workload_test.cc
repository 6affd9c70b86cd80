// Arrivals, mix and rows: what comes when, as functions of a seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "client/load/arrivals.h"
#include "client/load/mix.h"
#include "client/load/random_bits.h"
#include "client/load/row_source.h"

namespace evoke::load {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSeed = 7;

TEST(ArrivalsTest, ConstantOnesDoNotDrift) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  Arrivals arrivals({.kind = ArrivalKind::kConstant, .rate = 3e5, .start = start});
  EXPECT_EQ(arrivals.next(), start);
  for (int i = 0; i < 300'000; ++i) arrivals.Advance();  // 1 / rate is no whole number of nanoseconds
  EXPECT_EQ(arrivals.next(), start + absl::Seconds(1));
}

TEST(ArrivalsTest, PoissonOnesHaveTheRateAndTheSpreadOfAnExponential) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  Arrivals arrivals({.kind = ArrivalKind::kPoisson, .rate = 1000, .seed = kSeed, .start = start});
  constexpr int kCount = 100'000;
  double squares = 0;
  absl::Time last = start;
  for (int i = 0; i < kCount; ++i, arrivals.Advance()) {
    ASSERT_GE(arrivals.next(), last);
    const double gap = absl::ToDoubleSeconds(arrivals.next() - last) * 1000;
    squares += gap * gap;
    last = arrivals.next();
  }
  // Standard errors: of the mean 0.3%, of the second moment, which is 2, 1.4%.
  EXPECT_NEAR(absl::ToDoubleSeconds(last - start), kCount / 1000.0, kCount / 1000.0 * 0.015);
  EXPECT_NEAR(squares / kCount, 2, 0.15);
}

TEST(ArrivalsTest, TheSameSeedComesAtTheSameTimes) {
  const Arrivals::Options options{.kind = ArrivalKind::kPoisson, .rate = 10, .seed = kSeed};
  Arrivals a(options), b(options);
  Arrivals other({.kind = ArrivalKind::kPoisson, .rate = 10, .seed = kSeed + 1});
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), other.next());
}

TEST(MixTest, GivesMethodsByTheirWeights) {
  const absl::StatusOr<Mix> mix = Mix::Parse("query=6,train_step=2,update");
  ASSERT_TRUE(mix.ok()) << mix.status();
  std::array<int, kMethodCount> counts{};
  for (int i = 0; i < 900; ++i) ++counts[static_cast<size_t>(mix->At((i + 0.5) / 900))];
  EXPECT_EQ(counts[static_cast<size_t>(Method::kQuery)], 600);
  EXPECT_EQ(counts[static_cast<size_t>(Method::kUpdate)], 100);
  EXPECT_EQ(counts[static_cast<size_t>(Method::kTrainStep)], 200);
  EXPECT_TRUE(mix->writes());
}

TEST(MixTest, NeverGivesAMethodOfWeightZero) {
  const Mix queries = *Mix::Parse("query,update=0,train_step=0");
  EXPECT_EQ(queries.At(0), Method::kQuery);
  EXPECT_EQ(queries.At(0x1.fffffffffffffp-1), Method::kQuery);
  EXPECT_FALSE(queries.writes());
  EXPECT_EQ(Mix::Parse("query=0,update=0,train_step")->At(0), Method::kTrainStep);
}

TEST(MixTest, RefusesWhatMakesNoSense) {
  for (const char* text :
       {"", "read", "query=-1", "query=many", "query=inf", "query,query", "query=0", "query=1,"}) {
    EXPECT_EQ(Mix::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(Mix::Parse("train").status().message()), HasSubstr("\"train\""));
}

// Rows of a source as numbers.
struct Rows {
  Rows(const RowSource& source, uint64_t stream, uint64_t first, uint32_t count) {
    std::string embeddings, raw;
    source.Fill(stream, first, count, &embeddings, &raw);
    x.resize(embeddings.size() / sizeof(float));
    values.resize(raw.size() / sizeof(int64_t));
    std::memcpy(x.data(), embeddings.data(), embeddings.size());
    std::memcpy(values.data(), raw.data(), raw.size());
  }
  double Cosine(size_t i, size_t j, size_t dim) const {
    double ij = 0, ii = 0, jj = 0;
    for (size_t e = 0; e < dim; ++e) {
      const double a = x[i * dim + e], b = x[j * dim + e];
      ij += a * b, ii += a * a, jj += b * b;
    }
    return ij / std::sqrt(ii * jj);
  }
  std::vector<float> x;
  std::vector<int64_t> values;
};

TEST(RowSourceTest, ARowDependsOnItsPlaceOnly) {
  const RowSource source({.dim = 5, .values = 100, .seed = kSeed});
  const Rows all(source, 3, 0, 10);
  const Rows last(source, 3, 9, 1);
  EXPECT_EQ(std::vector<float>(all.x.end() - 5, all.x.end()), last.x);
  EXPECT_EQ(all.values.back(), last.values[0]);
  EXPECT_NE(all.x, Rows(source, 4, 0, 10).x);
  EXPECT_NE(all.x, Rows(RowSource({.dim = 5, .values = 100, .seed = kSeed + 1}), 3, 0, 10).x);
}

TEST(RowSourceTest, EmbeddingsOfAValueAreNearEachOtherAndOthersAreNot) {
  constexpr size_t kDim = 256;
  constexpr uint32_t kRows = 200;
  const RowSource source({.dim = kDim, .values = 4, .spread = 0.5, .seed = kSeed});
  const Rows rows(source, 0, 0, kRows);
  double same = 0, other = 0;
  int same_count = 0, other_count = 0;
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = i + 1; j < kRows; ++j) {
      const bool equal = rows.values[i] == rows.values[j];
      (equal ? same : other) += rows.Cosine(i, j, kDim);
      ++(equal ? same_count : other_count);
    }
  }
  EXPECT_NEAR(same / same_count, 1 / 1.25, 0.02);
  EXPECT_NEAR(other / other_count, 0, 0.1);
}

TEST(RowSourceTest, ValuesAreUniformOrByZipf) {
  const auto count = [](std::optional<double> zipf) {
    const RowSource source({.dim = 1, .values = 1000, .zipf = zipf, .seed = kSeed});
    const Rows rows(source, 0, 0, 100'000);
    std::vector<int> counts(1000);
    for (const int64_t value : rows.values) ++counts.at(static_cast<size_t>(value));
    return counts;
  };
  const std::vector<int> uniform = count(std::nullopt);
  EXPECT_GT(*std::min_element(uniform.begin(), uniform.end()), 40);
  EXPECT_LT(*std::max_element(uniform.begin(), uniform.end()), 180);
  const std::vector<int> zipf = count(2.0);
  EXPECT_NEAR(static_cast<double>(zipf[0]) / zipf[1], 4, 0.3);  // 2^2
  EXPECT_NEAR(static_cast<double>(zipf[0]) / zipf[9], 100, 20);
}

}  // namespace
}  // namespace evoke::load
