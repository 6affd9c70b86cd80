// A memory whose index is on a device, and what becomes of it, its alarm and its figures when the device is lost.
#include <gmock/gmock.h>

#include <filesystem>

#include "server/engine/alarms.h"
#include "server/engine/catalog.h"
#include "tests/component/memory_executor_fixture.h"
#include "tests/testing/twin_keys.h"

namespace evoke::testing {
namespace {

using ::testing::HasSubstr;

class GpuLostTest : public MemoryExecutorTest {
 protected:
  EngineOptions OnDevices(std::vector<int> devices = {}) {
    return {.index = "faiss_gpu", .gpu_devices = std::move(devices), .make_device = TwinDevices(twins_)};
  }
  // Figures are taken about a second after turns.
  template <typename Condition>
  void AwaitFigures(const Condition& condition) {
    while (!condition(executor->figures())) {
      clock.Advance(absl::Seconds(1));
      std::this_thread::yield();
    }
  }
  static std::string AlarmIn(const MemoryFigures& figures) {
    const auto alarms = AlarmsOf(figures);
    const auto alarm = alarms.find(kGpuLostAlarm);
    return alarm == alarms.end() ? "" : alarm->second;
  }

  std::shared_ptr<TwinFaults> twins_ = std::make_shared<TwinFaults>();
};

TEST_F(GpuLostTest, ItGoesOnWithTheSameAnswersAndRaisesTheAlarmUntilItIsLoadedAgain) {
  Start(OnDevices());
  ASSERT_EQ(Train(1, 1), "turn 1");
  ASSERT_EQ(Train(2, 2), "turn 2");
  AwaitFigures([](const MemoryFigures& f) { return f.device_bytes.count(0) == 1 && f.device_bytes.at(0) > 0; });
  EXPECT_EQ(AlarmIn(executor->figures()), "");
  twins_->lost_from_call = 0;
  EXPECT_EQ(Train(3, 3), "turn 3");
  AwaitFigures([](const MemoryFigures& f) { return !f.degraded.empty(); });
  EXPECT_THAT(AlarmIn(executor->figures()), HasSubstr("the twin is lost"));
  EXPECT_EQ(executor->figures().state, MemoryState::kServing);
  EXPECT_EQ(executor->figures().device_bytes.at(0), 0u);
  for (const int64_t value : {1, 2, 3}) {
    Answer<QueryReply> query;
    executor->Submit(Query(value, &query));
    EXPECT_EQ(query.Wait()->values[0], value);
  }
  EXPECT_EQ(Train(3, 3), "turn 3");  // a retry
  Close();
  twins_->lost_from_call = -1;
  Start(OnDevices());
  AwaitFigures([](const MemoryFigures& f) { return f.device_bytes.count(0) == 1 && f.device_bytes.at(0) > 0; });
  EXPECT_EQ(AlarmIn(executor->figures()), "");
  EXPECT_EQ(Inspect().live_count, 3u);
}

TEST_F(GpuLostTest, AMemoryThatFindsNoDeviceIsServedAndSaysSo) {
  EngineOptions options = OnDevices();
  options.make_device = [](std::string_view, const DeviceSearchOptions&) { return absl::UnavailableError("no driver"); };
  Start(options);
  AwaitFigures([](const MemoryFigures& f) { return !f.degraded.empty(); });
  EXPECT_THAT(AlarmIn(executor->figures()), HasSubstr("no driver"));
  EXPECT_EQ(Train(1, 1), "turn 1");
}

TEST_F(GpuLostTest, ThereIsAShardForEachDeviceUnlessMoreAreAskedFor) {
  Start(OnDevices({4, 7}));
  EXPECT_EQ(executor->figures().shards, 2u);
  ASSERT_EQ(Train(1, 1), "turn 1");
  AwaitFigures([](const MemoryFigures& f) { return f.device_bytes.size() == 2; });
  EXPECT_EQ(executor->figures().device_bytes.count(4) + executor->figures().device_bytes.count(7), 2u);
  Close();
  EngineOptions three = OnDevices({4, 7});
  three.shards = 3;
  Start(three);
  EXPECT_EQ(executor->figures().shards, 3u);
  AwaitFigures([](const MemoryFigures& f) { return f.device_bytes.size() == 2; });
}

TEST_F(GpuLostTest, TheAlarmIsToldWhenItBeginsAndWhenItEnds) {
  std::vector<std::string> told;
  Alarms alarms(&clock, [&](const Alarm& alarm, bool raised) { told.push_back(alarm.name + (raised ? " raised" : " over")); });
  MemoryFigures figures{.name = "m", .state = MemoryState::kServing};
  alarms.Update({figures});
  figures.degraded = "lost";
  alarms.Update({figures});
  alarms.Update({figures});
  figures.state = MemoryState::kLoading;  // whether that helps is not known yet
  figures.degraded.clear();
  alarms.Update({figures});
  EXPECT_EQ(alarms.Active().size(), 1u);
  figures.state = MemoryState::kServing;
  alarms.Update({figures});
  EXPECT_EQ(told, (std::vector<std::string>{"gpu_lost raised", "gpu_lost over"}));
}

TEST_F(GpuLostTest, AMemoryThatDevicesHaveNoRoomForIsRefusedBeforeAnythingIsMade) {
  const std::string path = path_ + "-catalog";
  const std::unique_ptr<DataDir> data_dir = *DataDir::Open(path);
  const MemorySpec small{.key_dim = 16, .capacity = 1000, .durability = SpecDurability::kMemory};
  const uint64_t bytes = PlanOf(small, {.engine = OnDevices()})->gpu_bytes;
  EXPECT_GE(bytes, 1000u * 16 * sizeof(float));
  const std::unique_ptr<Catalog> catalog = *Catalog::Open({.data_dir = data_dir.get(),
                                                           .compute = &compute_,
                                                           .io = &io_,
                                                           .clock = &clock,
                                                           .engine = OnDevices(),
                                                           .gpu_budget_bytes = 2 * bytes + bytes / 2,
                                                           .rocksdb = RocksDbResources::Create({})});
  EXPECT_TRUE(catalog->Create("a", small, MemoryUid(), false).ok());
  EXPECT_TRUE(catalog->Create("b", small, MemoryUid(), false).ok());
  const absl::Status full = catalog->Create("c", small, MemoryUid(), false).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_EQ(DetailOf(full)->reason, "MEMORY_LIMIT");
  EXPECT_EQ(DetailOf(full)->metadata.at("field"), "gpu_bytes");
  EXPECT_EQ(DetailOf(full)->metadata.at("observed"), std::to_string(3 * bytes));
  EXPECT_EQ(catalog->List().size(), 2u);
  EXPECT_TRUE(catalog->Delete("a", MemoryUid()).ok());
  EXPECT_TRUE(catalog->Create("c", small, MemoryUid(), false).ok());
  EXPECT_TRUE(catalog->Close(absl::InfiniteFuture()).ok());
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace evoke::testing
