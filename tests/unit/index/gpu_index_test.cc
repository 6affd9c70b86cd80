// What GpuIndex does when its device does not answer: with a twin, which fails when told.
#include "server/index/gpu_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/base/errors.h"
#include "server/index/device_plan.h"
#include "server/index/index_factory.h"
#include "tests/testing/index_oracle.h"
#include "tests/testing/twin_keys.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kDim = 20;
constexpr uint32_t kCapacity = 10'000;

class GpuIndexTest : public ::testing::Test {
 protected:
  GpuIndexTest() { Make(TwinDevices(faults_)); }
  void Make(MakeDeviceSearch devices) {
    index_ = *CreateIndex("faiss_gpu", {.dim = kDim, .capacity = kCapacity, .device = 3, .make_device = std::move(devices),
                                        .on_device_search = [this](int device, absl::Duration) { searched_.push_back(device); }});
  }
  // As one turn.
  void Write(uint32_t first, uint32_t count) {
    std::vector<uint32_t> positions;
    for (uint32_t p = first; p < first + count; ++p) {
      keys_.Set(p, Unit(random_, kDim));
      positions.push_back(p);
    }
    index_->Upsert(keys_.View(), positions);
  }
  void ExpectRightAnswers() {
    std::vector<std::vector<float>> rows;
    for (int r = 0; r < 5; ++r) rows.push_back(Unit(random_, kDim));
    ExpectExact(index_.get(), keys_, rows, {1, 5, 50, 300, 2});
  }

  std::mt19937_64 random_ = SeededGenerator();
  std::shared_ptr<TwinFaults> faults_ = std::make_shared<TwinFaults>();
  Keys keys_{kCapacity, kDim};
  std::unique_ptr<Index> index_;
  std::vector<int> searched_;
};

TEST_F(GpuIndexTest, TellsWhatItHasOnItsDeviceAndHowOftenThatWasSearched) {
  EXPECT_EQ(index_->device().device, 3);
  EXPECT_EQ(index_->device().bytes, 0u);
  EXPECT_EQ(index_->degraded(), "");
  EXPECT_EQ(index_->name(), "faiss_gpu");
  EXPECT_TRUE(index_->exact());
  Write(0, 2000);
  ExpectRightAnswers();
  EXPECT_GE(index_->device().bytes, 2000u * kDim * sizeof(float));
  EXPECT_THAT(searched_, ElementsAre(3));
}

TEST_F(GpuIndexTest, AnswersAlikeWhateverCallTheDeviceIsLostAt) {
  for (int lost = 0; lost < 30; ++lost) {
    faults_ = std::make_shared<TwinFaults>();
    faults_->lost_from_call = lost;
    Make(TwinDevices(faults_));
    keys_ = Keys(kCapacity, kDim);
    index_->Rebuild(keys_.View());
    for (uint32_t turn = 0; turn < 4; ++turn) {
      Write(turn * 1000, 1000);
      keys_.Unset(turn * 100 + 5);
      index_->Erase({turn * 100 + 5});
      ASSERT_NO_FATAL_FAILURE(ExpectRightAnswers()) << "lost at call " << lost;
      EXPECT_THAT(index_->Verify(keys_.View(), {1, 2, 105}), IsEmpty());
    }
    EXPECT_EQ(index_->degraded().empty(), faults_->calls <= lost) << lost;
    if (lost < 20) {
      EXPECT_THAT(std::string(index_->degraded()), AllOf(HasSubstr("GPU 3"), HasSubstr("the twin is lost")));
      EXPECT_EQ(index_->device().bytes, 0u);
    }
  }
}

TEST_F(GpuIndexTest, GoesOnWithoutADeviceThatHasNoMemoryToGrowInto) {
  faults_->room_bytes = 6000 * kDim * sizeof(float);
  Write(0, 3000);
  ExpectRightAnswers();
  EXPECT_EQ(index_->degraded(), "");
  Write(3000, 5000);
  EXPECT_THAT(std::string(index_->degraded()), HasSubstr("the twin is full"));
  ExpectRightAnswers();
  faults_->room_bytes = ~uint64_t{0};
  Write(8000, 100);  // ... for good
  ExpectRightAnswers();
  EXPECT_THAT(std::string(index_->degraded()), HasSubstr("the twin is full"));
}

TEST_F(GpuIndexTest, ADeviceThatIsNotThereAtTheStartIsDoneWithout) {
  Make([](std::string_view, const DeviceSearchOptions&) { return absl::UnavailableError("no driver"); });
  EXPECT_THAT(std::string(index_->degraded()), HasSubstr("no driver"));
  Write(0, 1000);
  index_->Erase({1});
  keys_.Unset(1);
  ExpectRightAnswers();
  EXPECT_THAT(searched_, IsEmpty());
}

TEST_F(GpuIndexTest, UpsertsAndErasuresOfATurnAreOneWrite) {
  Write(0, 500);
  const int before = faults_->calls;
  keys_.Unset(3);
  index_->Erase({3});
  EXPECT_EQ(faults_->calls, before);
  Write(0, 3);
  EXPECT_EQ(faults_->calls, before + 2);  // staged and put
  EXPECT_THAT(index_->Verify(keys_.View(), {0, 1, 2, 3}), IsEmpty());
}

TEST_F(GpuIndexTest, AnErasureIsToldBeforeAnythingIsAsked) {
  Write(0, 500);
  for (uint32_t p = 0; p < 100; ++p) {
    keys_.Unset(p);
    index_->Erase({p});
  }
  EXPECT_THAT(index_->Verify(keys_.View(), {0, 50, 99, 100}), IsEmpty());
  ExpectRightAnswers();
}

// A GPU that was told by its environment to use TF32, say: scores that break the bound are seen, and not believed.
TEST_F(GpuIndexTest, ScoresThatAreCoarserThanTheirBoundAreNotBelieved) {
  Write(0, 2000);
  faults_->coarse = true;
  ExpectRightAnswers();
  EXPECT_GE(index_->stats().uncertified_rows, 4u);
}

TEST_F(GpuIndexTest, RowsThatTheDeviceCannotAnswerAreCounted) {
  Write(0, 8000);
  const std::vector<float> row = Unit(random_, kDim);
  ExpectExact(index_.get(), keys_, {row, row}, {10, 3000});  // more than FAISS lists
  EXPECT_EQ(index_->stats().uncertified_rows, 1u);
}

TEST(IndexFactoryDeviceTest, AnIndexThatIsNotBuiltInNamesTheOption) {
  if (CudaVersion() != "off") GTEST_SKIP() << "it is built in";
  for (const std::string& name : DeviceIndexNames()) {
    for (const absl::Status& status : {CreateIndex(name, {.dim = 4}).status(), PlanIndex(name, {.dim = 4}).status()}) {
      EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("EVOKE_GPU"));
      ASSERT_TRUE(DetailOf(status).has_value());
      EXPECT_EQ(DetailOf(status)->reason, "NOT_BUILT");
    }
  }
  EXPECT_TRUE(absl::IsUnimplemented(ListDevices().status()));
}

}  // namespace
}  // namespace evoke
