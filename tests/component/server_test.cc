// The whole server in this process, from gRPC to the store and back, and again after a restart.
#include "server/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <thread>

#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/index/device_search_factory.h"
#include "server/process.h"
#include "tests/testing/twin_keys.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

template <typename T>
std::vector<T> Numbers(const std::string& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(T));
  return numbers;
}

std::string CodeAndReason(const grpc::Status& status) {
  if (status.ok()) return "OK";
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  if (details.details_size() > 0) details.details(0).UnpackTo(&info);
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())) + "/" + info.reason();
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest()
      : dir_(::testing::TempDir() + "/evoke-server-" + std::to_string(getpid()) + "-" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(dir_);
  }
  ~ServerTest() override {
    Stop();
    std::filesystem::remove_all(dir_);
  }

  Config SmallConfig() const {
    const auto loaded = LoadConfig({"--data-dir", dir_, "--listen", "127.0.0.1:0", "--http-listen", "off",
                                    "--threads", "2", "--drain-timeout", "10s"},
                                   {});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->config;
  }

  void Start() { Start(SmallConfig()); }
  void Start(const Config& config) {
    auto server = Server::Start(config);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->grpc_addresses()[0], grpc::InsecureChannelCredentials());
    memory_ = v1::MemoryService::NewStub(channel_);
    admin_ = v1::AdminService::NewStub(channel_);
    while (ServerStatus().state() == v1::SERVER_STATE_LOADING) std::this_thread::yield();
  }
  void Stop() {
    if (server_ == nullptr) return;
    EXPECT_TRUE(server_->Drain([] { return false; }).ok());
    server_.reset();
  }

  // Calls a method, and expects it to succeed unless the status is asked for.
  template <typename Response, typename Stub, typename Request>
  Response Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), Stub* stub,
                const Request& request, grpc::Status* status_out = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    Response response;
    const grpc::Status status = (stub->*method)(&context, request, &response);
    if (status_out != nullptr) {
      *status_out = status;
    } else {
      EXPECT_TRUE(status.ok()) << CodeAndReason(status) << " " << status.error_message();
    }
    return response;
  }
  template <typename M, typename Request>
  auto Memory(M method, const Request& request, grpc::Status* status = nullptr) {
    return Call(method, static_cast<v1::MemoryService::StubInterface*>(memory_.get()), request, status);
  }
  template <typename M, typename Request>
  auto Admin(M method, const Request& request, grpc::Status* status = nullptr) {
    return Call(method, static_cast<v1::AdminService::StubInterface*>(admin_.get()), request, status);
  }

  v1::StatusResponse ServerStatus() {
    return Admin(&v1::AdminService::StubInterface::Status, v1::StatusRequest());
  }

  v1::CreateMemoryResponse Create(const std::string& name, uint32_t dim = 2, grpc::Status* status = nullptr) {
    v1::CreateMemoryRequest request;
    request.set_name(name);
    request.mutable_spec()->set_key_dim(dim);
    request.mutable_spec()->set_capacity(16);
    return Admin(&v1::AdminService::StubInterface::CreateMemory, request, status);
  }

  static v1::TrainStepRequest Step(const std::vector<float>& rows, const std::vector<int64_t>& values,
                                   uint64_t number) {
    v1::TrainStepRequest request;
    request.mutable_memory()->set_name("faces");
    v1::Matrix* matrix = request.mutable_embeddings();
    matrix->set_data(Raw(rows));
    matrix->set_dtype(v1::DTYPE_FLOAT32);
    matrix->set_rows(static_cast<uint32_t>(values.size()));
    matrix->set_dim(2);
    request.set_values(Raw(values));
    request.mutable_mutation()->set_session(std::string(16, 's'));
    request.mutable_mutation()->set_number(number);
    for (size_t i = 0; i < values.size(); ++i) request.add_payloads("of " + std::to_string(values[i]));
    return request;
  }
  v1::TrainStepResponse TrainStep(const v1::TrainStepRequest& request, grpc::Status* status = nullptr) {
    return Memory(&v1::MemoryService::StubInterface::TrainStep, request, status);
  }
  // Of a call that answers with a stream: how it ended, and its last message.
  template <typename Request, typename Response>
  grpc::Status LastOf(std::unique_ptr<grpc::ClientReader<Response>> (v1::AdminService::Stub::*method)(
                          grpc::ClientContext*, const Request&),
                      const Request& request, Response* last) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto reader = (admin_.get()->*method)(&context, request);
    for (Response message; reader->Read(&message);) *last = message;
    return reader->Finish();
  }
  v1::StateHashResponse StateHash() {
    v1::StateHashRequest request;
    request.mutable_memory()->set_name("faces");
    return Admin(&v1::AdminService::StubInterface::StateHash, request);
  }

  const std::string dir_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MemoryService::Stub> memory_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

TEST_F(ServerTest, TeachesARareThingAndAnswersWithIt) {
  Start();
  Create("faces");
  const auto step = TrainStep(Step({1, 0, 0, 1}, {7, 8}, 1));
  EXPECT_EQ(step.outcomes(), std::string("\x05\x05"));  // both into free slots
  EXPECT_EQ(step.header().step(), 2u);
  EXPECT_EQ(step.header().turn(), 1u);
  EXPECT_EQ(step.header().instance(), ServerStatus().instance());
  EXPECT_EQ(step.header().durability(), v1::DURABILITY_FSYNC);

  v1::QueryRequest query;
  query.mutable_memory()->set_name("faces");
  *query.mutable_embeddings() = Step({0.1f, 2, 5, 1}, {0, 0}, 1).embeddings();
  query.set_k(2);
  query.set_neighbors(true);
  query.set_neighbor_keys(true);
  query.set_neighbor_payloads(true);
  const auto answer = Memory(&v1::MemoryService::StubInterface::Query, query);
  EXPECT_EQ(Numbers<int64_t>(answer.values()), (std::vector<int64_t>{8, 7}));
  EXPECT_EQ(answer.answered(), "\x03");
  EXPECT_EQ(answer.neighbor_count(), 2u);
  EXPECT_EQ(Numbers<uint64_t>(answer.neighbor_slots()), (std::vector<uint64_t>{1, 0, 0, 1}));
  EXPECT_EQ(Numbers<uint64_t>(answer.neighbor_ages()), (std::vector<uint64_t>{0, 1, 1, 0}));
  EXPECT_EQ(Numbers<float>(answer.neighbor_keys()), (std::vector<float>{0, 1, 1, 0, 1, 0, 0, 1}));
  ASSERT_EQ(answer.payloads_size(), 2);
  EXPECT_EQ(answer.payloads(1).payloads(0).data(), "of 8");
}

TEST_F(ServerTest, UpdateGetSlotsAndClearGoRoundTrip) {
  Start();
  Create("faces");
  v1::UpdateRequest update;
  const v1::TrainStepRequest rows = Step({1, 0, 0, 1}, {7, 8}, 1);
  *update.mutable_memory() = rows.memory();
  *update.mutable_mutation() = rows.mutation();
  *update.mutable_embeddings() = rows.embeddings();
  update.set_values(rows.values());
  const auto updated = Memory(&v1::MemoryService::StubInterface::Update, update);
  EXPECT_EQ(Numbers<uint64_t>(updated.slots()), (std::vector<uint64_t>{0, 1}));

  v1::GetSlotsRequest get;
  get.mutable_memory()->set_name("faces");
  get.add_slots(1);
  get.add_slots(5);
  get.add_values(7);
  get.set_keys(true);
  const auto got = Memory(&v1::MemoryService::StubInterface::GetSlots, get);
  ASSERT_EQ(got.slots_size(), 1);
  EXPECT_EQ(got.slots(0).value(), 8);
  EXPECT_EQ(Numbers<float>(got.slots(0).key()), (std::vector<float>{0, 1}));
  ASSERT_EQ(got.values_size(), 1);
  EXPECT_EQ(got.values(0).live_slots(), 1u);
  EXPECT_EQ(got.values(0).slots(0).slot(), 0u);

  v1::ClearMemoryRequest clear;
  clear.mutable_memory()->set_name("faces");
  *clear.mutable_mutation() = rows.mutation();
  clear.mutable_mutation()->set_number(2);
  const auto cleared = Admin(&v1::AdminService::StubInterface::ClearMemory, clear);
  EXPECT_EQ(cleared.freed_slots(), 2u);
  EXPECT_EQ(cleared.header().epoch(), 2u);
  EXPECT_EQ(cleared.header().term(), 1u);
  EXPECT_EQ(StateHash().state_hash(), std::string(32, '0'));
  // The same number with another body.
  grpc::Status status;
  update.mutable_mutation()->set_number(2);
  Memory(&v1::MemoryService::StubInterface::Update, update, &status);
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT/STEP_REUSED");
}

TEST_F(ServerTest, ARestoreThatRequiresAnEpochThatIsOverIsRefusedAndChangesNothing) {
  Start();
  Create("faces");
  TrainStep(Step({1, 0}, {7}, 1));
  v1::CreateSnapshotRequest make;
  make.mutable_memory()->set_name("faces");
  v1::CreateSnapshotResponse made;
  ASSERT_TRUE(LastOf(&v1::AdminService::Stub::CreateSnapshot, make, &made).ok());
  v1::ClearMemoryRequest clear;
  clear.mutable_memory()->set_name("faces");
  *clear.mutable_mutation() = Step({}, {}, 2).mutation();
  Admin(&v1::AdminService::StubInterface::ClearMemory, clear);
  TrainStep(Step({0, 1}, {8}, 3));
  const v1::StateHashResponse before = StateHash();
  ASSERT_EQ(before.header().epoch(), 2u);

  // What a retry of a restore says whose first attempt was done: others have written since.
  v1::RestoreSnapshotRequest restore;
  restore.mutable_memory()->set_name("faces");
  restore.mutable_memory()->set_epoch(1);
  restore.set_id(made.snapshot().id());
  v1::RestoreSnapshotResponse restored;
  const grpc::Status refused = LastOf(&v1::AdminService::Stub::RestoreSnapshot, restore, &restored);
  EXPECT_EQ(CodeAndReason(refused), "FAILED_PRECONDITION/STALE_MEMORY");
  EXPECT_THAT(refused.error_message(), HasSubstr("is at epoch 2, the request requires 1"));
  EXPECT_EQ(StateHash().SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(TrainStep(Step({1, 1}, {9}, 4)).header().step(), 3u) << "its sessions go on";

  restore.mutable_memory()->set_epoch(2);
  ASSERT_TRUE(LastOf(&v1::AdminService::Stub::RestoreSnapshot, restore, &restored).ok());
  EXPECT_EQ(restored.header().epoch(), 3u);
  EXPECT_EQ(StateHash().state_hash(), made.snapshot().token().state_hash());
}

TEST_F(ServerTest, ARetryIsAnsweredWithTheStoredReplyAlsoAfterARestart) {
  Start();
  Create("faces");
  v1::TrainStepResponse first = TrainStep(Step({1, 0, 0, 1}, {7, 8}, 1));
  const std::string hash = StateHash().state_hash();
  EXPECT_EQ(TrainStep(Step({1, 0, 0, 1}, {7, 8}, 1)).SerializeAsString(), first.SerializeAsString());
  Stop();
  Start();
  EXPECT_EQ(StateHash().state_hash(), hash);
  v1::TrainStepResponse again = TrainStep(Step({1, 0, 0, 1}, {7, 8}, 1));
  EXPECT_NE(again.header().instance(), first.header().instance());
  first.mutable_header()->clear_instance();
  again.mutable_header()->clear_instance();
  EXPECT_EQ(again.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(StateHash().state_hash(), hash);
}

TEST_F(ServerTest, AStreamThatBrokeOffIsRepeatedWithTheSameNumbersAndGetsTheSameReplies) {
  Start();
  Create("faces");
  const auto step = [](uint64_t number) { return Step({1, 0, 0, 1}, {7, static_cast<int64_t>(number)}, number); };
  std::vector<std::string> replies;
  {
    grpc::ClientContext context;
    const auto stream = memory_->TrainStream(&context);
    v1::TrainStepResponse reply;
    for (uint64_t n = 1; n <= 5; ++n) EXPECT_TRUE(stream->Write(step(n)));
    for (uint64_t n = 1; n <= 5; ++n) {
      ASSERT_TRUE(stream->Read(&reply));
      EXPECT_EQ(reply.header().step(), 2 * n);
      reply.mutable_header()->clear_instance();
      replies.push_back(reply.SerializeAsString());
    }
    Stop();  // with the stream open: a drain ends it
    EXPECT_FALSE(stream->Read(&reply));
    EXPECT_EQ(CodeAndReason(stream->Finish()), "UNAVAILABLE/DRAINING");
  }
  Start();
  grpc::ClientContext context;
  const auto stream = memory_->TrainStream(&context);
  v1::TrainStepResponse reply;
  for (uint64_t n = 4; n <= 6; ++n) EXPECT_TRUE(stream->Write(step(n)));
  stream->WritesDone();
  for (uint64_t n = 4; n <= 6; ++n) {
    ASSERT_TRUE(stream->Read(&reply));
    EXPECT_EQ(reply.header().step(), 2 * n);
    reply.mutable_header()->clear_instance();
    if (n <= 5) {
      EXPECT_EQ(reply.SerializeAsString(), replies[n - 1]);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  v1::TrainStepResponse unary = TrainStep(step(6));
  unary.mutable_header()->clear_instance();
  EXPECT_EQ(unary.SerializeAsString(), reply.SerializeAsString());
}

TEST_F(ServerTest, BadRequestsChangeNothingAndConsumeNoNumber) {
  Start();
  Create("faces");
  TrainStep(Step({1, 0}, {7}, 1));
  const std::string before = StateHash().SerializeAsString();
  const std::pair<const char*, v1::TrainStepRequest> bad[] = {
      {"INVALID_ARGUMENT/BAD_NORM", Step({1, 0, 0, 0}, {7, 8}, 2)},
      {"INVALID_ARGUMENT/NON_FINITE", Step({1, 0, NAN, 0}, {7, 8}, 2)},
      {"INVALID_ARGUMENT/BAD_SHAPE", Step({1, 0, 1}, {7, 8}, 2)},
      {"FAILED_PRECONDITION/STEP_OUT_OF_ORDER", Step({1, 0}, {7}, 5)},
      {"INVALID_ARGUMENT/STEP_REUSED", Step({1, 0}, {9}, 1)},
      {"INVALID_ARGUMENT/BAD_ARGUMENT", Step({1, 0}, {7}, 0)},
  };
  for (const auto& [expected, request] : bad) {
    grpc::Status status;
    TrainStep(request, &status);
    EXPECT_EQ(CodeAndReason(status), expected) << status.error_message();
  }
  EXPECT_EQ(StateHash().SerializeAsString(), before);
  TrainStep(Step({1, 0}, {7}, 2));
  EXPECT_NE(StateHash().SerializeAsString(), before);
}

TEST_F(ServerTest, CreateListDescribeAndDelete) {
  Start();
  const auto created = Create("faces");
  EXPECT_TRUE(created.created());
  Create("birds", 3);
  grpc::Status status;
  Create("faces", 2, &status);
  EXPECT_EQ(CodeAndReason(status), "ALREADY_EXISTS/MEMORY_EXISTS");
  v1::CreateMemoryRequest again;
  again.set_name("faces");
  again.mutable_spec()->set_key_dim(3);
  again.mutable_spec()->set_capacity(16);
  again.set_if_not_exists(true);
  Admin(&v1::AdminService::StubInterface::CreateMemory, again, &status);
  EXPECT_EQ(CodeAndReason(status), "ALREADY_EXISTS/SPEC_DIFFERS");
  again.mutable_spec()->set_key_dim(2);
  EXPECT_FALSE(Admin(&v1::AdminService::StubInterface::CreateMemory, again).created());

  const auto list = Admin(&v1::AdminService::StubInterface::ListMemories, v1::ListMemoriesRequest());
  ASSERT_EQ(list.memories_size(), 2);
  EXPECT_EQ(list.memories(0).name(), "birds");
  v1::DescribeMemoryRequest describe;
  describe.mutable_memory()->set_name("faces");
  TrainStep(Step({1, 0}, {7}, 1));
  const auto description = Admin(&v1::AdminService::StubInterface::DescribeMemory, describe).description();
  EXPECT_EQ(description.uid(), created.header().uid());
  EXPECT_EQ(description.state(), v1::MEMORY_STATE_SERVING);
  EXPECT_EQ(description.step(), 1u);
  EXPECT_EQ(description.live_slots(), 1u);
  EXPECT_EQ(description.spec().choose_k(), 256u);

  describe.mutable_memory()->set_uid(std::string(16, 'x'));
  Admin(&v1::AdminService::StubInterface::DescribeMemory, describe, &status);
  EXPECT_EQ(CodeAndReason(status), "FAILED_PRECONDITION/STALE_MEMORY");

  v1::DeleteMemoryRequest remove;
  remove.set_name("faces");
  remove.set_uid(created.header().uid());
  EXPECT_TRUE(Admin(&v1::AdminService::StubInterface::DeleteMemory, remove).deleted());
  EXPECT_FALSE(Admin(&v1::AdminService::StubInterface::DeleteMemory, remove).deleted());
  remove.clear_uid();
  Admin(&v1::AdminService::StubInterface::DeleteMemory, remove, &status);
  EXPECT_EQ(CodeAndReason(status), "NOT_FOUND/MEMORY_NOT_FOUND");
}

TEST_F(ServerTest, AMinTurnThatDoesNotComeEndsInBehind) {
  Start();
  Create("faces");
  v1::QueryRequest query;
  query.mutable_memory()->set_name("faces");
  query.mutable_memory()->set_min_turn(1000);
  *query.mutable_embeddings() = Step({1, 0}, {0}, 1).embeddings();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  v1::QueryResponse response;
  EXPECT_EQ(CodeAndReason(memory_->Query(&context, query, &response)), "UNAVAILABLE/BEHIND");
}

TEST_F(ServerTest, AStopLosesNothingThatWasAcknowledgedAndRefusesTheRestWithAReason) {
  Start();
  Create("faces");
  uint64_t acknowledged = 0;
  std::string refusal;
  std::atomic<bool> running{false};
  std::thread trainer([&] {
    for (uint64_t number = 1; refusal.empty(); ++number) {
      v1::TrainStepRequest request =
          Step({1, static_cast<float>(number)}, {static_cast<int64_t>(number)}, number);
      request.mutable_mutation()->set_first_unacknowledged(number);
      grpc::Status status;
      TrainStep(request, &status);
      if (status.ok()) {
        acknowledged = number;
      } else {
        refusal = CodeAndReason(status);
      }
      running.store(true);
    }
  });
  while (!running.load()) std::this_thread::yield();
  EXPECT_TRUE(server_->Drain([] { return false; }).ok());
  trainer.join();
  // Answered by a service or an executor that drains, or by gRPC: CANCELLED for a call that had not begun (clients
  // repeat it), UNAVAILABLE when the server was gone already.
  EXPECT_THAT(refusal, ::testing::AnyOf("UNAVAILABLE/DRAINING", "UNAVAILABLE/", "CANCELLED/"));
  server_.reset();
  Start();
  EXPECT_EQ(StateHash().header().step(), acknowledged);
}

TEST_F(ServerTest, HealthServesOnceEverythingIsRecovered) {
  Start();
  const auto stub = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("evoke.v1.MemoryService");
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(stub->Check(&context, request, &response).ok());
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST_F(ServerTest, ADataDirectoryHasOneServer) {
  Start();
  const absl::Status status = Server::Start(SmallConfig()).status();
  EXPECT_EQ(ExitCodeOf(status), kExitLocked) << status;
}

TEST_F(ServerTest, APortHasOneServer) {
  Start();
  Config config = SmallConfig();
  config.data_dir += "-2";
  config.listen = {server_->grpc_addresses()[0]};
  const absl::Status status = Server::Start(config).status();
  EXPECT_EQ(ExitCodeOf(status), kExitResource) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(config.listen[0]));
  std::filesystem::remove_all(config.data_dir);
}

TEST_F(ServerTest, ASocketFileIsReplacedOnlyWhenNobodyListensOnIt) {
  const std::string path = ::testing::TempDir() + "/evoke-" + std::to_string(getpid()) + ".sock";
  unlink(path.c_str());
  // A socket file that a killed server left.
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);
  Config config = SmallConfig();
  config.listen = {"unix:" + path};
  Start(config);
  ASSERT_NE(server_, nullptr);

  config.data_dir += "-2";
  const absl::Status status = Server::Start(config).status();
  EXPECT_EQ(ExitCodeOf(status), kExitResource) << status;
  std::filesystem::remove_all(config.data_dir);
  EXPECT_EQ(ServerStatus().state(), v1::SERVER_STATE_SERVING);  // the first one still has its socket
}

TEST_F(ServerTest, AnIndexThatIsNotBuiltInIsRefusedNamingTheOption) {
  if (CudaVersion() != "off") GTEST_SKIP() << "it is built in";
  Config config = SmallConfig();
  config.engine.index = "gpu";
  for (const absl::Status& status : {Server::Start(config).status(), CheckFiles(config)}) {
    EXPECT_EQ(ExitCodeOf(status), kExitUsage) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("EVOKE_GPU"));
  }
}

TEST_F(ServerTest, ALostDeviceIsAnAlarmInStatusAndReadinessAndNothingElse) {
  const auto faults = std::make_shared<TwinFaults>();
  Config config = SmallConfig();
  config.engine.index = "faiss_gpu";
  config.engine.make_device = TwinDevices(faults);
  Start(config);
  Create("faces");
  Memory(&v1::MemoryService::StubInterface::TrainStep, Step({1, 0}, {1}, 1));
  EXPECT_EQ(ServerStatus().alarms_size(), 0);
  faults->lost_from_call = 0;
  v1::QueryRequest query;
  query.mutable_memory()->set_name("faces");
  *query.mutable_embeddings() = Step({1, 0}, {0}, 1).embeddings();
  query.set_k(1);
  while (ServerStatus().alarms_size() == 0) {  // told about a second after a turn
    const auto answer = Memory(&v1::MemoryService::StubInterface::Query, query);
    ASSERT_EQ(Numbers<int64_t>(answer.values()), std::vector<int64_t>{1});
  }
  EXPECT_EQ(ServerStatus().alarms(0).name(), "gpu_lost");
  EXPECT_EQ(ServerStatus().alarms(0).memory(), "faces");
  EXPECT_THAT(ServerStatus().alarms(0).message(), HasSubstr("the twin is lost"));
  EXPECT_EQ(ServerStatus().state(), v1::SERVER_STATE_SERVING);
  const Readiness readiness = server_->ReadReadiness();
  EXPECT_TRUE(readiness.ready);
  EXPECT_EQ(readiness.checks.back().name, "alarm gpu_lost");
}

TEST_F(ServerTest, ADamagedCatalogIsCorrupt) {
  Start();
  Create("faces");
  Stop();
  std::filesystem::resize_file(dir_ + "/catalog", std::filesystem::file_size(dir_ + "/catalog") - 1);
  const absl::Status status = Server::Start(SmallConfig()).status();
  EXPECT_EQ(ExitCodeOf(status), kExitCorrupt) << status;
}

}  // namespace
}  // namespace evoke
