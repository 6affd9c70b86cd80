// A real server on a disk that is full, fails a sync, or takes its time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/integration/fault_trainer.h"
#include "tests/integration/faulty_server.h"

namespace evoke::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr char kReadOnly[] = "FAILED_PRECONDITION/READ_ONLY_DISK";
constexpr char kDiskAlarm[] = "evoke_alarm_active{alarm=\"disk\",memory=\"m\"}";

std::string CreateAnother(const ServerProcess& server, v1::Durability durability) {
  v1::CreateMemoryRequest request;
  v1::CreateMemoryResponse response;
  request.set_name(v1::Durability_Name(durability));
  request.mutable_spec()->set_key_dim(3);
  request.mutable_spec()->set_capacity(8);
  request.mutable_spec()->set_durability(durability);
  return RawClient(server.address()).Call(&v1::AdminService::Stub::CreateMemory, request, &response).code_and_reason;
}

v1::StatusResponse StatusOf(const ServerProcess& server) {
  v1::StatusResponse response;
  RawClient(server.address()).Call(&v1::AdminService::Stub::Status, v1::StatusRequest(), &response);
  return response;
}

TEST(ProcessDiskTest, WhenItIsFullReadsGoOnAndTheTrainerGoesOnWhenThereIsRoomAgain) {
  FaultyServer server({"--disk-reserve-bytes", "0"});
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_FSYNC);
  for (int i = 0; i < 10; ++i) trainer.StepUntilOk();
  EXPECT_EQ(server.Metric(kDiskAlarm), std::string(kDiskAlarm) + " 0\n");

  server.faults().free_bytes = 300;  // the next commit is torn
  EXPECT_EQ(trainer.Step(), "UNAVAILABLE/COMMIT_UNKNOWN");
  ASSERT_TRUE(Eventually([&] { return trainer.Step() == kReadOnly; })) << trainer.last_message();
  EXPECT_THAT(trainer.last_message(), HasSubstr("No space left"));
  EXPECT_EQ(trainer.Query(), "OK");
  trainer.ExpectStateOfSomeTurnFrom(10);
  EXPECT_EQ(CreateAnother(server, v1::DURABILITY_FSYNC), kReadOnly);
  EXPECT_EQ(server.Metric(kDiskAlarm), std::string(kDiskAlarm) + " 1\n");
  EXPECT_THAT(HttpGet(server.http_port(), "/readyz?verbose"), HasSubstr("[-] alarm disk: memory m: "));
  const v1::StatusResponse status = StatusOf(server);
  ASSERT_EQ(status.alarms_size(), 1);
  EXPECT_EQ(status.alarms(0).name() + " " + status.alarms(0).memory(), "disk m");
  EXPECT_THAT(server.Log(), HasSubstr(" E alarm alarm=disk memory=m detail="));

  server.faults().free_bytes = FaultControl::kUnlimited;
  trainer.StepUntilOk();
  for (int i = 0; i < 10; ++i) trainer.StepUntilOk();
  EXPECT_EQ(server.Metric(kDiskAlarm), std::string(kDiskAlarm) + " 0\n");
  EXPECT_EQ(StatusOf(server).alarms_size(), 0);
  EXPECT_THAT(server.Log(), HasSubstr(" I alarm is over alarm=disk memory=m"));
  EXPECT_EQ(CreateAnother(server, v1::DURABILITY_FSYNC), "OK");
  server.LosePower();
  server.Start();
  trainer.ExpectStateOfSomeTurnFrom(trainer.acknowledged());
}

TEST(ProcessDiskTest, BelowTheReserveWritesAreRefusedBeforeAnyFails) {
  constexpr int64_t kReserve = 64 << 20;
  FaultyServer server({"--disk-reserve-bytes", "64MiB"});
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_WAL);
  trainer.StepUntilOk();
  server.faults().free_bytes = kReserve / 2;
  ASSERT_TRUE(Eventually([&] { return trainer.Step() == kReadOnly; })) << trainer.last_message();
  EXPECT_THAT(trainer.last_message(), HasSubstr("the reserve is 67108864"));
  EXPECT_EQ(trainer.Query(), "OK");
  EXPECT_EQ(CreateAnother(server, v1::DURABILITY_WAL), kReadOnly);
  EXPECT_EQ(CreateAnother(server, v1::DURABILITY_MEMORY), "OK") << "it needs no disk";
  EXPECT_EQ(server.Metric(kDiskAlarm), std::string(kDiskAlarm) + " 1\n");
  EXPECT_EQ(server.faults().refused_writes, 0);
  server.faults().free_bytes = 2 * kReserve;
  trainer.StepUntilOk();
  EXPECT_EQ(server.Metric(kDiskAlarm), std::string(kDiskAlarm) + " 0\n");
}

TEST(ProcessDiskTest, ASyncThatFailsLeavesTheOutcomeToTheReloadedSession) {
  FaultyServer server;
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_FSYNC);
  for (int round = 0; round < 5; ++round) {
    trainer.StepUntilOk();
    server.faults().failing_syncs = 1;
    EXPECT_EQ(trainer.Step(), "UNAVAILABLE/COMMIT_UNKNOWN");
    trainer.StepUntilOk();  // the row was in the file: the retry must not write it again
  }
  EXPECT_EQ(server.faults().failed_syncs, 5);
  EXPECT_EQ(trainer.acknowledged(), 10u);
  server.LosePower();
  server.Start();
  trainer.ExpectStateOfSomeTurnFrom(10);
}

TEST(ProcessDiskTest, ASyncThatTakesItsTimeHoldsUpItsMemoryAlone) {
  FaultyServer server;
  server.Start();
  FaultTrainer slow(server, "m", v1::DURABILITY_FSYNC), other(server, "other", v1::DURABILITY_WAL);
  slow.StepUntilOk();
  server.faults().syncs_held = 1;
  std::thread waiting([&] { EXPECT_EQ(slow.Step(), "OK"); });
  ASSERT_TRUE(Eventually([&] { return server.faults().waiting_syncs > 0; }));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(other.Step(), "OK");
  EXPECT_EQ(other.Query(), "OK");
  EXPECT_THAT(HttpGet(server.http_port(), "/livez"), HasSubstr("200 OK"));
  server.faults().syncs_held = 0;
  waiting.join();
  slow.StepUntilOk();
}

TEST(ProcessDiskTest, AClientThatVanishesBeforeItsReplyLosesNothingAndRepeatsNothing) {
  FaultyServer server;
  server.Start();
  FaultTrainer trainer(server, "m", v1::DURABILITY_FSYNC);
  trainer.StepUntilOk();
  for (int round = 0; round < 5; ++round) {
    server.faults().syncs_held = 1;
    {
      // A connection of its own, gone while the commit waits for the disk.
      grpc::ChannelArguments alone;
      alone.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto channel =
          grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), alone);
      const auto stub = v1::MemoryService::NewStub(channel);
      grpc::ClientContext context;
      std::thread calling([&] {
        v1::TrainStepResponse never;
        EXPECT_EQ(stub->TrainStep(&context, trainer.NextRequest(), &never).error_code(), grpc::StatusCode::CANCELLED);
      });
      EXPECT_TRUE(Eventually([&] { return server.faults().waiting_syncs > 0; }));
      context.TryCancel();
      calling.join();
    }
    server.faults().syncs_held = 0;
    trainer.StepUntilOk();  // the same number: Step expects it to be turn n
  }
  EXPECT_EQ(trainer.acknowledged(), 6u);
}

}  // namespace
}  // namespace evoke::testing
