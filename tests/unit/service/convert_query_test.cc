#include "server/service/convert_query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "server/service/convert_rows.h"
#include "tests/unit/service/request_builders.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(ToQueryCallTest, NormalisesRowsAndKeepsTheirNorms) {
  Faces faces;
  const auto call = ToQueryCall(TwoRowQuery(), faces.target());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_THAT(call->rows.unit, ElementsAre(0.6f, 0, 0.8f, 0, 0, 1, 0, 0));
  EXPECT_THAT(call->rows.norms, ElementsAre(5, 1));
  EXPECT_THAT(call->rows.skip, ElementsAre(0, 0));
}

TEST(ToQueryCallTest, TakesKAndTemperatureFromTheSpecWhenTheRequestHasNone) {
  Faces faces;
  faces.spec.choose_k = 9;
  faces.spec.inverse_temperature = 12.5;
  const auto call = ToQueryCall(TwoRowQuery(), faces.target());
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->k, 9u);
  EXPECT_EQ(call->inverse_temperature, 12.5);
  EXPECT_FALSE(call->neighbors);
}

TEST(ToQueryCallTest, KeysAndPayloadsImplyNeighbors) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  request.set_k(2);
  request.set_neighbor_keys(true);
  EXPECT_TRUE(ToQueryCall(request, faces.target())->neighbors);
  request.set_neighbor_keys(false);
  request.set_neighbor_payloads(true);
  EXPECT_TRUE(ToQueryCall(request, faces.target())->neighbors);
}

struct BadQuery {
  const char* name;
  std::function<void(v1::QueryRequest*)> spoil;
  const char* code_and_reason;
  const char* message;
};

class BadQueryTest : public ::testing::TestWithParam<BadQuery> {};

TEST_P(BadQueryTest, IsRefusedWithItsReason) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  GetParam().spoil(&request);
  const auto call = ToQueryCall(request, faces.target());
  EXPECT_EQ(CodeAndReason(call.status()), GetParam().code_and_reason);
  EXPECT_THAT(std::string(call.status().message()), HasSubstr(GetParam().message));
}

const BadQuery kBadQueries[] = {
    {"NoMatrix", [](auto* r) { r->clear_embeddings(); }, "INVALID_ARGUMENT/BAD_SHAPE", "no rows"},
    {"NoRows", [](auto* r) { r->mutable_embeddings()->set_rows(0); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "no rows"},
    {"WrongDim",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 2, 3}, 3);
     },
     "INVALID_ARGUMENT/BAD_SHAPE", "query has 3 dimensions, memory \"faces\" expects 4"},
    {"NoDtype", [](auto* r) { r->mutable_embeddings()->clear_dtype(); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "dtype 0"},
    {"UnknownDtype", [](auto* r) { r->mutable_embeddings()->set_dtype(static_cast<v1::DType>(9)); },
     "INVALID_ARGUMENT/BAD_SHAPE", "dtype 9"},
    {"AByteMissing", [](auto* r) { r->mutable_embeddings()->mutable_data()->pop_back(); },
     "INVALID_ARGUMENT/BAD_SHAPE", "31 bytes of embeddings, 2 rows of 4 dimensions take 32"},
    {"HalvesThatAreFloats", [](auto* r) { r->mutable_embeddings()->set_dtype(v1::DTYPE_FLOAT16); },
     "INVALID_ARGUMENT/BAD_SHAPE", "take 16"},
    {"TooManyRows", [](auto* r) { *r->mutable_embeddings() = Rows(std::vector<float>(65 * 4, 1)); },
     "INVALID_ARGUMENT/TOO_LARGE", "65, the limit is 64"},
    {"RowsThatWouldOverflow", [](auto* r) { r->mutable_embeddings()->set_rows(0xffffffff); },
     "INVALID_ARGUMENT/TOO_LARGE", "4294967295"},
    {"KOfZero", [](auto* r) { r->set_k(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT", "k is 0"},
    {"KTooLarge", [](auto* r) { r->set_k(33); }, "INVALID_ARGUMENT/TOO_LARGE", "33, the limit is 32"},
    {"TemperatureZero", [](auto* r) { r->set_inverse_temperature(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "inverse_temperature"},
    {"TemperatureNegative", [](auto* r) { r->set_inverse_temperature(-1); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "-1"},
    {"TemperatureNan", [](auto* r) { r->set_inverse_temperature(kNan); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "nan"},
    {"TemperatureInfinite", [](auto* r) { r->set_inverse_temperature(kInf); },
     "INVALID_ARGUMENT/BAD_ARGUMENT", "inf"},
    {"SkipTooLong", [](auto* r) { r->set_skip(std::string(2, '\0')); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "skip has 2 bytes"},
    {"SkipBeyondRows", [](auto* r) { r->set_skip("\x04"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "beyond its 2 rows"},
    {"Nan",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 0, 0, 0, 0, kNan, 0, 0});
     },
     "INVALID_ARGUMENT/NON_FINITE", "row 1"},
    {"Infinite",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 0, -kInf, 0, 0, 1, 0, 0});
     },
     "INVALID_ARGUMENT/NON_FINITE", "row 0"},
    {"Zeros",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 0, 0, 0, 0, 0, 0, 0});
     },
     "INVALID_ARGUMENT/BAD_NORM", "row 1"},
    {"NormTooSmall",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({9e-13f, 0, 0, 0, 1, 0, 0, 0});
     },
     "INVALID_ARGUMENT/BAD_NORM", "row 0"},
    {"NormTooLarge",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({2e18f, 0, 0, 0, 1, 0, 0, 0});
     },
     "INVALID_ARGUMENT/BAD_NORM", "row 0"},
};

INSTANTIATE_TEST_SUITE_P(All, BadQueryTest, ::testing::ValuesIn(kBadQueries),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ToQueryCallTest, RowsToSkipAreNeitherReadNorValidated) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  *request.mutable_embeddings() = Rows({1, 0, 0, 0, kNan, kInf, 0, 0});
  request.set_skip("\x02");
  const auto call = ToQueryCall(request, faces.target());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_THAT(call->rows.skip, ElementsAre(0, 1));
  EXPECT_THAT(call->rows.unit, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0));
}

TEST(ToQueryCallTest, ReplyThatWouldBeTooLargeIsRefusedBeforeWorkWithBothNumbers) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  request.set_k(32);
  request.set_neighbor_keys(true);
  ASSERT_TRUE(ToQueryCall(request, faces.target()).ok());
  faces.limits.max_message_bytes = 2 * 32 * (4 * 4 + 32);
  const absl::Status status = ToQueryCall(request, faces.target()).status();
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT/TOO_LARGE");
  EXPECT_EQ(MetadataOf(status, "limit"), "3072");
  EXPECT_GT(std::stoul(MetadataOf(status, "observed")), 3072u);
}

TEST(ToQueryCallTest, PayloadsCountAsTheLargestPossibleInThePrediction) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  request.set_k(32);
  request.set_neighbor_payloads(true);
  faces.spec.payload_history = 4;  // 64 slots * 4 * 4 KiB is just beyond 1 MiB
  EXPECT_EQ(CodeAndReason(ToQueryCall(request, faces.target()).status()), "INVALID_ARGUMENT/TOO_LARGE");
  faces.spec.payload_history = 3;
  EXPECT_TRUE(ToQueryCall(request, faces.target()).ok());
}

TEST(WidenTest, EveryFloat16IsItsExactFloat32) {
  EXPECT_EQ(WidenFloat16(0x3c00), 1.0f);
  EXPECT_EQ(WidenFloat16(0xc000), -2.0f);
  EXPECT_EQ(WidenFloat16(0x7bff), 65504.0f);
  EXPECT_EQ(WidenFloat16(0x0001), 0x1p-24f);
  EXPECT_EQ(WidenFloat16(0x83ff), -0x1.ff8p-15f);
  EXPECT_EQ(WidenFloat16(0x0400), 0x1p-14f);
  EXPECT_TRUE(std::signbit(WidenFloat16(0x8000)));
  EXPECT_EQ(WidenFloat16(0x7c00), kInf);
  EXPECT_TRUE(std::isnan(WidenFloat16(0x7e00)));
  EXPECT_TRUE(std::isnan(WidenFloat16(0x7c01)));
  // Rising bits are rising numbers.
  for (uint16_t bits = 0; bits < 0x7c00; ++bits)
    ASSERT_LT(WidenFloat16(bits), WidenFloat16(bits + 1)) << bits;
}

TEST(WidenTest, Bfloat16IsTheUpperHalf) {
  EXPECT_EQ(WidenBfloat16(0x3f80), 1.0f);
  EXPECT_EQ(WidenBfloat16(0xc0a0), -5.0f);
}

TEST(ToQueryCallTest, TakesHalvesAndBfloats) {
  Faces faces;
  v1::QueryRequest request = TwoRowQuery();
  v1::Matrix* matrix = request.mutable_embeddings();
  matrix->set_rows(1);
  matrix->set_dtype(v1::DTYPE_FLOAT16);
  matrix->set_data(Raw<uint16_t>({0x4200, 0, 0x4400, 0}));  // 3, 0, 4, 0
  EXPECT_THAT(ToQueryCall(request, faces.target())->rows.unit, ElementsAre(0.6f, 0, 0.8f, 0));
  matrix->set_dtype(v1::DTYPE_BFLOAT16);
  matrix->set_data(Raw<uint16_t>({0x4040, 0, 0x4080, 0}));
  EXPECT_THAT(ToQueryCall(request, faces.target())->rows.unit, ElementsAre(0.6f, 0, 0.8f, 0));
}

TEST(ToResponseTest, AgeIsStepMinusWrittenStepAndZeroForSkippedRows) {
  QueryReply reply;
  reply.state.step = Step(10);
  reply.rows = 2;
  reply.answered = {1, 0};
  reply.values = {5, 0};
  reply.confidences = {1, 0};
  reply.neighbor_count = 1;
  reply.neighbors = {{.slot = 3, .similarity = 0.5f, .value = 5, .written_step = 4}, {}};
  reply.weights = {1, 0};
  const v1::QueryResponse response = ToResponse(reply, "instance-16bytes");
  EXPECT_EQ(response.neighbor_ages(), Raw<uint64_t>({6, 0}));
  EXPECT_EQ(response.neighbor_slots(), Raw<uint64_t>({3, 0}));
  EXPECT_EQ(response.answered(), "\x01");
  EXPECT_EQ(response.header().instance(), "instance-16bytes");
}

struct BadSlots {
  const char* name;
  std::function<void(v1::GetSlotsRequest*)> spoil;
  const char* code_and_reason;
};

class BadGetSlotsTest : public ::testing::TestWithParam<BadSlots> {};

TEST_P(BadGetSlotsTest, IsRefusedWithItsReason) {
  Faces faces;
  v1::GetSlotsRequest request;
  GetParam().spoil(&request);
  EXPECT_EQ(CodeAndReason(ToSlotsCall(request, faces.target()).status()), GetParam().code_and_reason);
}

const BadSlots kBadSlots[] = {
    {"BeyondCapacity", [](auto* r) { r->add_slots(100); }, "INVALID_ARGUMENT/BAD_ARGUMENT"},
    {"TooManySlots", [](auto* r) { r->mutable_slots()->Resize(65, 1); }, "INVALID_ARGUMENT/TOO_LARGE"},
    {"LimitTooLarge", [](auto* r) { r->set_limit(33); }, "INVALID_ARGUMENT/TOO_LARGE"},
    {"ReplyTooLarge",
     [](auto* r) {
       r->mutable_values()->Resize(64, 1);
       r->set_limit(32);
       r->set_payloads(true);
     },
     "INVALID_ARGUMENT/TOO_LARGE"},
};

INSTANTIATE_TEST_SUITE_P(All, BadGetSlotsTest, ::testing::ValuesIn(kBadSlots),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ToSlotsCallTest, LimitIsSixteenUnlessGiven) {
  Faces faces;
  v1::GetSlotsRequest request;
  request.add_slots(99);
  request.add_values(-3);
  EXPECT_EQ(ToSlotsCall(request, faces.target())->limit, 16u);
  request.set_limit(2);
  EXPECT_EQ(ToSlotsCall(request, faces.target())->limit, 2u);
}

}  // namespace
}  // namespace evoke
