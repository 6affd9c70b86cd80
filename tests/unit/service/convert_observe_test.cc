#include "server/service/convert_observe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/unit/service/request_builders.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

absl::StatusOr<ObserveCall> Convert(v1::TrainStepRequest request) {
  Faces faces;
  return ToObserveCall(std::move(request), faces.target());
}
absl::StatusOr<ObserveCall> Convert(v1::UpdateRequest request) {
  Faces faces;
  return ToObserveCall(std::move(request), faces.target());
}

v1::TrainStepRequest TrainStep() {
  return TwoRowObserve<v1::TrainStepRequest>();
}

TEST(ToObserveCallTest, AllRowsWriteWhenNoFlagsAreGiven) {
  const auto call = Convert(TrainStep());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_THAT(call->values, ElementsAre(7, -8));
  EXPECT_THAT(call->write, ElementsAre(1, 1));
  EXPECT_THAT(call->rows.norms, ElementsAre(5, 1));
  ASSERT_TRUE(call->mutation);
  EXPECT_EQ(call->mutation->number, 1u);
  EXPECT_EQ(call->form, ObserveForm::kScores);
}

TEST(ToObserveCallTest, ARowToSkipDoesNotWrite) {
  v1::TrainStepRequest request = TrainStep();
  request.set_write("\x03");
  request.set_skip("\x01");
  EXPECT_THAT(Convert(request)->write, ElementsAre(0, 1));
}

TEST(ToObserveCallTest, ARequestWithoutARowThatWritesIsAReadWithoutMutation) {
  v1::TrainStepRequest request = TrainStep();
  request.set_write(std::string(1, '\0'));
  EXPECT_EQ(CodeAndReason(Convert(request).status()), "INVALID_ARGUMENT/BAD_ARGUMENT");
  request.clear_mutation();
  const auto call = Convert(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_FALSE(call->mutation);
}

TEST(ToObserveCallTest, AllRowsSkippedIsARead) {
  v1::TrainStepRequest request = TrainStep();
  request.set_skip("\x03");
  EXPECT_EQ(MetadataOf(Convert(request).status(), "field"), "mutation");
  request.clear_mutation();
  EXPECT_TRUE(Convert(request).ok());
}

TEST(ToObserveCallTest, TranslatesForms) {
  v1::TrainStepRequest request = TrainStep();
  request.set_form(v1::RETURN_FORM_GRADIENT);
  request.set_confidence_gradient(true);
  EXPECT_EQ(Convert(request)->form, ObserveForm::kGradient);
  EXPECT_TRUE(Convert(request)->confidence_gradient);
  request.set_form(v1::RETURN_FORM_KEYS);
  EXPECT_EQ(Convert(request)->form, ObserveForm::kKeys);
  EXPECT_EQ(Convert(TwoRowObserve<v1::UpdateRequest>())->form, ObserveForm::kOutcomes);
}

struct BadStep {
  const char* name;
  std::function<void(v1::TrainStepRequest*)> spoil;
  const char* code_and_reason;
  const char* message;
};

class BadTrainStepTest : public ::testing::TestWithParam<BadStep> {};

TEST_P(BadTrainStepTest, IsRefusedWithItsReason) {
  v1::TrainStepRequest request = TrainStep();
  GetParam().spoil(&request);
  const absl::Status status = Convert(request).status();
  EXPECT_EQ(CodeAndReason(status), GetParam().code_and_reason);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

const BadStep kBadSteps[] = {
    {"WrongDim",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 1, 1, 1, 1}, 5);
     },
     "INVALID_ARGUMENT/BAD_SHAPE", "train step has 5 dimensions, memory \"faces\" expects 4"},
    {"AValueMissing", [](auto* r) { r->set_values(Raw<int64_t>({7})); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "8 bytes of values"},
    {"NoValues", [](auto* r) { r->clear_values(); }, "INVALID_ARGUMENT/BAD_SHAPE", "2 rows take 16"},
    {"WriteTooLong", [](auto* r) { r->set_write("\x03\x01"); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "write has 2 bytes"},
    {"WriteBeyondRows", [](auto* r) { r->set_write("\xff"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "write has a bit"},
    {"SkipBeyondRows", [](auto* r) { r->set_skip("\x80"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "skip has a bit"},
    {"OnePayloadForTwoRows", [](auto* r) { r->add_payloads("a"); }, "INVALID_ARGUMENT/BAD_SHAPE",
     "1 payloads"},
    {"PayloadTooLarge",
     [](auto* r) {
       r->add_payloads("");
       r->add_payloads(std::string(4097, 'x'));
     },
     "INVALID_ARGUMENT/TOO_LARGE", "payload of row 1: 4097, the limit is 4096"},
    {"NoMutation", [](auto* r) { r->clear_mutation(); }, "INVALID_ARGUMENT/BAD_ARGUMENT", "no mutation"},
    {"ShortSession", [](auto* r) { r->mutable_mutation()->set_session("short"); },
     "INVALID_ARGUMENT/BAD_ARGUMENT", "mutation.session has 5 bytes"},
    {"NumberZero", [](auto* r) { r->mutable_mutation()->set_number(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
     "mutation.number"},
    {"AcknowledgesTheFuture", [](auto* r) { r->mutable_mutation()->set_first_unacknowledged(2); },
     "INVALID_ARGUMENT/BAD_ARGUMENT", "above the number 1"},
    {"UnknownForm", [](auto* r) { r->set_form(static_cast<v1::ReturnForm>(7)); },
     "INVALID_ARGUMENT/BAD_ARGUMENT", "form is 7"},
    {"ARowThatDoesNotWriteIsValidatedToo",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({1, 0, 0, 0, kNan, 0, 0, 0});
       r->set_write("\x01");
     },
     "INVALID_ARGUMENT/NON_FINITE", "row 1"},
    {"BadNorm",
     [](auto* r) {
       *r->mutable_embeddings() = Rows({0, 0, 0, 0, 1, 0, 0, 0});
     },
     "INVALID_ARGUMENT/BAD_NORM", "row 0"},
};

INSTANTIATE_TEST_SUITE_P(All, BadTrainStepTest, ::testing::ValuesIn(kBadSteps),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ToObserveCallTest, ReplyThatWouldBeTooLargeIsRefused) {
  Faces faces;
  faces.spec.key_dim = 4096;
  v1::TrainStepRequest request = TrainStep();
  *request.mutable_embeddings() = Rows(std::vector<float>(64 * 4096, 1), 4096);
  request.set_values(std::string(64 * 8, '\0'));
  faces.limits.max_message_bytes = 1100 << 10;
  request.set_form(v1::RETURN_FORM_GRADIENT);
  EXPECT_TRUE(ToObserveCall(v1::TrainStepRequest(request), faces.target()).ok());
  request.set_form(v1::RETURN_FORM_KEYS);  // twice as much
  EXPECT_EQ(CodeAndReason(ToObserveCall(v1::TrainStepRequest(request), faces.target()).status()),
            "INVALID_ARGUMENT/TOO_LARGE");
}

Hash128 DigestFor(const v1::TrainStepRequest& request) {
  return Convert(request)->mutation->digest;
}

TEST(DigestTest, DoesNotDependOnHowTheRequestSpellsItsDefaultsOrTypes) {
  const Hash128 digest = DigestFor(TrainStep());
  v1::TrainStepRequest request = TrainStep();
  request.set_write("\x03");
  request.set_skip(std::string(1, '\0'));
  request.set_form(v1::RETURN_FORM_SCORES);
  EXPECT_EQ(DigestFor(request), digest);
  v1::Matrix* matrix = request.mutable_embeddings();
  matrix->set_dtype(v1::DTYPE_FLOAT16);
  matrix->set_data(Raw<uint16_t>({0x4200, 0, 0x4400, 0, 0, 0x3c00, 0, 0}));
  EXPECT_EQ(DigestFor(request), digest);
}

TEST(DigestTest, DoesNotDependOnTheMutation) {
  v1::TrainStepRequest request = TrainStep();
  request.mutable_mutation()->set_number(5);
  request.mutable_mutation()->set_first_unacknowledged(4);
  EXPECT_EQ(DigestFor(request), DigestFor(TrainStep()));
}

TEST(DigestTest, DoesNotDependOnWhatRowsToSkipHold) {
  v1::TrainStepRequest a = TrainStep(), b = TrainStep();
  a.set_skip("\x02");
  b.set_skip("\x02");
  *b.mutable_embeddings() = Rows({3, 0, 4, 0, kNan, 9, 9, 9});
  EXPECT_EQ(DigestFor(a), DigestFor(b));
}

TEST(DigestTest, ChangesWithEverythingThatTheRequestMeans) {
  std::vector<std::function<void(v1::TrainStepRequest*)>> changes = {
      [](auto* r) {},
      [](auto* r) {
        *r->mutable_embeddings() = Rows({6, 0, 8, 0, 0, 1, 0, 0});
      },  // the same after normalisation
      [](auto* r) {
        r->set_values(Raw<int64_t>({7, -9}));
      },
      [](auto* r) { r->set_write("\x01"); },
      [](auto* r) { r->set_skip("\x02"); },
      [](auto* r) { r->set_form(v1::RETURN_FORM_KEYS); },
      [](auto* r) { r->set_confidence_gradient(true); },
      [](auto* r) { r->add_payloads("a"), r->add_payloads("bc"); },
      [](auto* r) { r->add_payloads("ab"), r->add_payloads("c"); },
  };
  std::vector<Hash128> digests;
  for (const auto& change : changes) {
    v1::TrainStepRequest request = TrainStep();
    change(&request);
    digests.push_back(DigestFor(request));
  }
  digests.push_back(Convert(TwoRowObserve<v1::UpdateRequest>())->mutation->digest);
  for (size_t i = 0; i < digests.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(digests[i], digests[j]) << i << " and " << j;
  }
}

// Stored with every reply: a change would turn retries across an upgrade into STEP_REUSED.
TEST(DigestTest, IsPinned) {
  EXPECT_EQ(DigestFor(TrainStep()).ToString(), "503e1d31645fbbb4d8a14c3f63952e11");
  v1::ClearMemoryRequest clear;
  *clear.mutable_mutation() = TrainStep().mutation();
  EXPECT_EQ(ToClearCall(clear)->mutation.digest.ToString(), "22bbb76b211a39ba13e608bc156defed");
}

TEST(ToClearCallTest, NeedsAMutation) {
  EXPECT_EQ(MetadataOf(ToClearCall({}).status(), "field"), "mutation");
}

StateName SomeState() {
  return {.memory = "faces",
          .uid = MemoryUid::FromView("0123456789abcdef"),
          .epoch = Epoch(2),
          .term = Term(1),
          .turn = Turn(5),
          .step = Step(9),
          .durability = Durability::kWal};
}

ObserveReply SomeReply(uint32_t rows) {
  ObserveReply reply;
  reply.state = SomeState();
  reply.rows = rows;
  return reply;
}

TEST(StoredReplyTest, HeaderPatchCompletesTheHeaderAndChangesNothingElse) {
  ObserveReply reply = SomeReply(2);
  reply.outcomes = {Outcome::kHit, Outcome::kNone};
  reply.slots = {3, ObserveReply::kNoSlot};
  const std::string stored = EncodeUpdate(reply);
  v1::UpdateResponse before, after;
  ASSERT_TRUE(before.ParseFromString(stored));
  EXPECT_EQ(before.header().term(), 0u);
  EXPECT_EQ(before.header().instance(), "");
  ASSERT_TRUE(after.ParseFromString(stored + EncodeHeaderPatch("instance-16bytes", Term(3))));
  EXPECT_EQ(after.header().term(), 3u);
  EXPECT_EQ(after.header().instance(), "instance-16bytes");
  EXPECT_EQ(after.header().memory(), "faces");
  EXPECT_EQ(after.header().uid(), "0123456789abcdef");
  EXPECT_EQ(after.header().epoch(), 2u);
  EXPECT_EQ(after.header().turn(), 5u);
  EXPECT_EQ(after.header().step(), 9u);
  EXPECT_EQ(after.header().durability(), v1::DURABILITY_WAL);
  EXPECT_EQ(after.outcomes(), std::string("\x02\x01"));
  EXPECT_EQ(after.slots(), Raw<uint64_t>({3, ~uint64_t{0}}));
}

TEST(StoredReplyTest, HeaderPatchFitsAllMutations) {
  const std::string patch = EncodeHeaderPatch("instance-16bytes", Term(1));
  v1::TrainStepResponse step;
  ASSERT_TRUE(step.ParseFromString(EncodeTrainStep(SomeReply(9)) + patch));
  EXPECT_EQ(step.rows(), 9u);
  EXPECT_EQ(step.header().term(), 1u);
  v1::ClearMemoryResponse clear;
  ASSERT_TRUE(clear.ParseFromString(EncodeClear({.state = SomeState(), .freed_slots = 7}) + patch));
  EXPECT_EQ(clear.freed_slots(), 7u);
  EXPECT_EQ(clear.header().instance(), "instance-16bytes");
}

TEST(BitsTest, PackAndUnpackAreInverse) {
  for (uint32_t rows = 1; rows <= 33; ++rows) {
    std::vector<uint8_t> flags(rows);
    for (uint32_t row = 0; row < rows; ++row) flags[row] = (row * row + rows) % 3 == 0;
    EXPECT_EQ(*UnpackBits("x", PackBits(flags), rows, 1), flags);
  }
}

}  // namespace
}  // namespace evoke
