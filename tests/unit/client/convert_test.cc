#include "evoke/convert.h"

#include "evoke/error_details.h"
#include "evoke/names.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::string Bytes(std::vector<T> numbers) {
  return std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T));
}

TEST(ConvertTest, MatrixCarriesItsShapeAndBytes) {
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  v1::QueryRequest proto;
  ASSERT_TRUE(ToProto(QueryRequest{.embeddings = MatrixView::Float32(numbers, 2)}, &proto).ok());
  EXPECT_EQ(proto.embeddings().rows(), 2u);
  EXPECT_EQ(proto.embeddings().dim(), 3u);
  EXPECT_EQ(proto.embeddings().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(proto.embeddings().data(), Bytes(numbers));
  EXPECT_FALSE(proto.has_k());

  const std::vector<uint16_t> halves = {1, 2};
  EXPECT_EQ(MatrixView::Float16(halves, 1).dim, 2u);
  EXPECT_EQ(MatrixView::BFloat16(halves, 1).dtype, MatrixView::DType::kBFloat16);
}

TEST(ConvertTest, MasksArePackedWithRowZeroInTheLowestBit) {
  const std::vector<float> numbers(9);
  const std::vector<int64_t> values(9);
  const std::vector<uint8_t> write = {1, 0, 0, 0, 0, 0, 0, 2, 1};
  v1::UpdateRequest proto;
  ASSERT_TRUE(
      ToProto(UpdateRequest{.embeddings = MatrixView::Float32(numbers, 9), .values = values, .write = write},
              &proto)
          .ok());
  EXPECT_EQ(proto.write(), std::string("\x81\x01", 2));
  EXPECT_EQ(proto.skip(), "");
}

TEST(ConvertTest, AMaskOfTheWrongLengthIsBadShapeAndNamesTheField) {
  const std::vector<float> numbers(2);
  const std::vector<int64_t> values(2);
  const std::vector<uint8_t> skip = {1};
  v1::TrainStepRequest proto;
  const absl::Status status =
      ToProto(TrainStepRequest{.embeddings = MatrixView::Float32(numbers, 2), .values = values, .skip = skip},
              &proto);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(GetErrorDetails(status).reason, "BAD_SHAPE");
  EXPECT_EQ(GetErrorDetails(status).metadata.at("field"), "skip");
}

TEST(ConvertTest, ARowThatIsSkippedOrMayNotWriteDoesNotWrite) {
  const std::vector<uint8_t> first = {1, 0}, second = {0, 1}, none = {0, 0}, all = {1, 1};
  EXPECT_TRUE(AnyRowWrites(2, {}, {}));
  EXPECT_TRUE(AnyRowWrites(2, first, second));
  EXPECT_FALSE(AnyRowWrites(2, first, first));
  EXPECT_FALSE(AnyRowWrites(2, none, {}));
  EXPECT_FALSE(AnyRowWrites(2, {}, all));
  EXPECT_FALSE(AnyRowWrites(0, {}, {}));
}

TEST(ConvertTest, QueryReplyIsUnpacked) {
  v1::QueryResponse proto;
  proto.mutable_header()->set_turn(5);
  proto.set_rows(2);
  proto.set_answered("\x02");
  proto.set_values(Bytes<int64_t>({0, -7}));
  proto.set_confidences(Bytes<float>({0, 0.5f}));
  proto.set_neighbor_count(1);
  proto.set_neighbor_slots(Bytes<uint64_t>({3, 4}));
  proto.set_neighbor_keys(Bytes<float>({1, 2, 3, 4}));
  const absl::StatusOr<QueryResult> result = FromProto(proto, 2);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->header.turn, 5u);
  EXPECT_THAT(result->answered, ElementsAre(0, 1));
  EXPECT_THAT(result->values, ElementsAre(0, -7));
  EXPECT_THAT(result->confidences, ElementsAre(0.0f, 0.5f));
  EXPECT_THAT(result->neighbor_slots, ElementsAre(3, 4));
  EXPECT_THAT(result->neighbor_keys, ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(result->neighbor_values.empty());
}

TEST(ConvertTest, AReplyWhoseArraysContradictItsRowsIsRefused) {
  v1::UpdateResponse proto;
  proto.set_rows(4'000'000'000);  // must be noticed before anything of that size is allocated
  proto.set_outcomes("\x02");
  const absl::StatusOr<UpdateResult> result = FromProto(proto);
  EXPECT_TRUE(absl::IsInternal(result.status()));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("outcomes"));
}

TEST(ConvertTest, SpecSurvivesTheRoundTripAndAbsentStaysAbsent) {
  MemorySpec spec{.key_dim = 3, .capacity = 9, .seed = 1};
  spec.merge_on_miss = 0.0f;
  spec.batch = BatchMode::kSequential;
  spec.durability = Durability::kWal;
  v1::MemorySpec proto;
  ToProto(spec, &proto);
  EXPECT_TRUE(proto.has_merge_on_miss());
  EXPECT_FALSE(proto.has_fold_misses());
  EXPECT_EQ(FromProto(proto), spec);
}

TEST(ConvertTest, NamesAreThoseOfTheProtosAndUnknownOnesAreNumbers) {
  EXPECT_EQ(Name(BatchMode::kAtomic), "ATOMIC");
  EXPECT_EQ(Name(MemoryState::kReadOnly), "READ_ONLY");
  EXPECT_EQ(Name(ServingStatus::kNotServing), "NOT_SERVING");
  EXPECT_EQ(Name(static_cast<Durability>(77)), "77");
}

TEST(Id128Test, HexRoundTripAndRefusalOfAnythingElse) {
  const Id128 id = Id128::Random();
  EXPECT_FALSE(id.empty());
  EXPECT_NE(id, Id128::Random());
  EXPECT_EQ(*Id128::FromHex(id.ToHex()), id);
  EXPECT_EQ(Id128::FromBytes(id.ToBytes()), id);
  EXPECT_FALSE(Id128::FromHex("12").ok());
  EXPECT_FALSE(Id128::FromHex(std::string(32, 'g')).ok());
  EXPECT_TRUE(Id128::FromBytes("short").empty());
}

}  // namespace
}  // namespace evoke::client
