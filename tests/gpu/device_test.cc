// What all that runs on a device stands on. Those tests that need one skip themselves without.
#include "server/index/gpu/device.h"

#include <faiss/gpu/utils/DeviceUtils.h>
#include <faiss/impl/FaissException.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "server/index/gpu/row_copies.h"
#include "server/index/index_factory.h"
#include "tests/testing/index_oracle.h"

namespace evoke {
namespace {

TEST(CudaStatusTest, NoMemoryIsExhaustedAndAnythingElseIsALostDevice) {
  EXPECT_TRUE(CudaStatus(cudaSuccess, "a copy").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(CudaStatus(cudaErrorMemoryAllocation, "a copy")));
  for (const cudaError_t error : {cudaErrorIllegalAddress, cudaErrorNoDevice, cudaErrorInsufficientDriver, cudaErrorLaunchFailure}) {
    const absl::Status status = CudaStatus(error, "copying keys");
    EXPECT_TRUE(absl::IsUnavailable(status));
    EXPECT_THAT(std::string(status.message()), ::testing::AllOf(::testing::HasSubstr("copying keys"),
                                                                ::testing::HasSubstr(cudaGetErrorName(error))));
  }
}

TEST(FaissTest, AFailedAssertionOfFaissIsAnExceptionAndNotTheEndOfTheProcess) {
  EXPECT_THROW(faiss::gpu::getDeviceProperties(100'000), faiss::FaissException);
}

TEST(WithoutADriverTest, AnIndexOnADeviceIsMadeAllTheSameAndAnswersByTheCpu) {
  if (Devices().ok()) GTEST_SKIP() << "there is a GPU";
  EXPECT_TRUE(absl::IsUnavailable(ListDevices().status())) << ListDevices().status();
  std::mt19937_64 random = SeededGenerator();
  for (const std::string name : {"faiss_gpu", "faiss_gpu_f16", "faiss_gpu_flat"}) {
    const auto index = CreateIndex(name, {.dim = 8, .capacity = 100});
    ASSERT_TRUE(index.ok()) << index.status();
    EXPECT_THAT(std::string((*index)->degraded()), ::testing::HasSubstr("searched on the CPU instead: looking for devices"));
    Keys keys(100, 8);
    for (uint32_t p = 0; p < 100; ++p) keys.Set(p, Unit(random, 8));
    (*index)->Rebuild(keys.View());
    ExpectExact(index->get(), keys, {Unit(random, 8)}, {10});
  }
}

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Devices().ok()) GTEST_SKIP() << "no GPU";
    ASSERT_TRUE(stream_.Create().ok());
  }
  std::vector<uint8_t> Read(const DeviceBuffer& buffer, size_t bytes) {
    std::vector<uint8_t> read(bytes);
    EXPECT_EQ(cudaMemcpy(read.data(), buffer.as<void>(), bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    return read;
  }
  Stream stream_;
};

TEST_F(DeviceTest, ABufferKeepsItsContentsWhenItGrowsAndItsSizeWhenItCannot) {
  DeviceBuffer buffer;
  ASSERT_TRUE(buffer.Grow(1000, stream_).ok());
  std::vector<uint8_t> bytes(1000);
  std::iota(bytes.begin(), bytes.end(), 0);
  ASSERT_EQ(cudaMemcpy(buffer.as<void>(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice), cudaSuccess);
  ASSERT_TRUE(buffer.Grow(50'000'000, stream_).ok());
  EXPECT_EQ(Read(buffer, 1000), bytes);
  const absl::Status status = buffer.Grow(uint64_t{1} << 50, stream_);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(buffer.size_bytes(), 50'000'000u);
  EXPECT_EQ(Read(buffer, 1000), bytes);
  EXPECT_TRUE(LaunchStatus("nothing").ok());  // the error was taken away
}

TEST_F(DeviceTest, RowsOfEveryWidthAreScatteredAndGathered) {
  std::mt19937_64 random = SeededGenerator();
  constexpr uint32_t kRows = 1001;
  for (const uint32_t row_bytes : {2u, 4u, 6u, 16u, 48u, 66u, 400u, 512u}) {
    DeviceBuffer matrix, rows, positions;
    const uint32_t count = 333;
    ASSERT_TRUE(matrix.Grow(kRows * row_bytes, stream_).ok());
    ASSERT_TRUE(rows.Grow(count * row_bytes, stream_).ok());
    ASSERT_TRUE(positions.Grow(count * sizeof(uint32_t), stream_).ok());
    std::vector<uint32_t> places(kRows);
    std::iota(places.begin(), places.end(), 0);
    std::shuffle(places.begin(), places.end(), random);
    places.resize(count);
    std::vector<uint8_t> expected(kRows * row_bytes, 9);
    std::vector<uint8_t> given(count * row_bytes);
    for (uint8_t& byte : given) byte = static_cast<uint8_t>(random());
    for (uint32_t i = 0; i < count; ++i) {
      std::copy_n(&given[i * row_bytes], row_bytes, &expected[places[i] * row_bytes]);
    }
    ASSERT_EQ(cudaMemset(matrix.as<void>(), 9, kRows * row_bytes), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(rows.as<void>(), given.data(), given.size(), cudaMemcpyHostToDevice), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(positions.as<void>(), places.data(), count * sizeof(uint32_t), cudaMemcpyHostToDevice), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const RowCopy copy{.matrix = matrix.as<void>(), .rows = rows.as<void>(), .positions = positions.as<uint32_t>(),
                       .count = count, .row_bytes = row_bytes};
    ASSERT_TRUE(ScatterRows(copy, stream_).ok());
    ASSERT_TRUE(stream_.Synchronize().ok());
    EXPECT_EQ(Read(matrix, expected.size()), expected) << row_bytes;
    ASSERT_EQ(cudaMemset(rows.as<void>(), 0, given.size()), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_TRUE(GatherRows(copy, stream_).ok());
    ASSERT_TRUE(stream_.Synchronize().ok());
    EXPECT_EQ(Read(rows, given.size()), given) << row_bytes;
  }
}

// All memory but a little is taken by somebody else.
TEST_F(DeviceTest, AnIndexThatFindsNoMemoryGoesOnOnTheCpu) {
  constexpr uint32_t kDim = 256;
  constexpr uint32_t kCapacity = 600'000;
  std::mt19937_64 random = SeededGenerator();
  std::unique_ptr<Index> index = *CreateIndex("faiss_gpu", {.dim = kDim, .capacity = kCapacity});
  Keys keys(kCapacity, kDim);
  keys.Set(0, Unit(random, kDim));
  keys.Set(1, Unit(random, kDim));
  index->Upsert(keys.View(), {0, 1});
  ASSERT_EQ(std::string(index->degraded()), "");
  DeviceBuffer hog;
  const uint64_t free_bytes = MemoryOf(0)->free_bytes;
  ASSERT_TRUE(hog.Grow(free_bytes - std::min(free_bytes, uint64_t{200} << 20), stream_).ok());
  keys.Set(kCapacity - 1, Unit(random, kDim));  // 586 MiB
  index->Upsert(keys.View(), {kCapacity - 1});
  EXPECT_THAT(std::string(index->degraded()), ::testing::HasSubstr("allocating"));
  EXPECT_EQ(index->device().bytes, 0u);
  ExpectExact(index.get(), keys, {Unit(random, kDim)}, {2});
}

}  // namespace
}  // namespace evoke
