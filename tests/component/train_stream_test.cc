// TrainStream behind a real gRPC server, over a memory that answers when a test says so.
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "evoke/v1/memory_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "server/service/convert_observe.h"
#include "server/service/listen.h"
#include "server/service/memory_service.h"
#include "tests/component/fake_catalog.h"
#include "tests/testing/log_capture.h"

namespace evoke {
namespace {

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

std::string ReasonOf(const grpc::Status& status) {
  if (status.ok()) return "OK";
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  if (details.details_size() > 0) details.details(0).UnpackTo(&info);
  return info.reason();
}

class CountingObserver final : public CallObserver {
 public:
  void OnCall(std::string_view method, absl::StatusCode code, absl::Duration) override {
    EXPECT_EQ(method, "MemoryService/TrainStream");
    ++(code == absl::StatusCode::kOk ? answered : refused);
  }
  void OnRefused(std::string_view, std::string_view) override {}
  std::atomic<int> answered{0}, refused{0};
};

class TrainStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    faces_ = catalog_.Add("faces", {.key_dim = 2, .capacity = 100});
    faces_->on_submit = [this](Task task) {
      MutexLock lock(&mu_);
      tasks_.push_back(std::move(task));
      came_.SignalAll();
    };
    context_.catalog = &catalog_;
    context_.observer = &observer_;
    context_.limits.Set({.max_message_bytes = 1 << 20, .max_rows = 64, .max_k = 16});
    context_.instance = "instance-16bytes";
    context_.engine.max_unacknowledged = 3;
    auto listening =
        Listen({.addresses = {"127.0.0.1:0"}, .max_message_bytes = 1 << 20, .services = {&memory_service_}});
    ASSERT_TRUE(listening.ok()) << listening.status();
    server_ = std::move(listening->server);
    channel_ = grpc::CreateChannel(listening->addresses[0], grpc::InsecureChannelCredentials());
    stub_ = v1::MemoryService::NewStub(channel_);
    client_.AddMetadata("x-request-id", "stream-1");
    stream_ = stub_->TrainStream(&client_);
  }
  void TearDown() override {
    client_.TryCancel();
    stream_.reset();
    {
      MutexLock lock(&mu_);
      for (Task& task : tasks_) task.Fail(absl::AbortedError("the test is over"));
    }
    EXPECT_TRUE(context_.mutations.WaitForNone(absl::Seconds(10))) << "a request is counted as under way for ever";
    server_->Shutdown();
  }

  static v1::TrainStepRequest Step(uint64_t number, int dim = 2) {
    v1::TrainStepRequest request;
    request.mutable_memory()->set_name("faces");
    request.mutable_embeddings()->set_data(Raw<float>({3, 4}));
    request.mutable_embeddings()->set_dtype(v1::DTYPE_FLOAT32);
    request.mutable_embeddings()->set_rows(1);
    request.mutable_embeddings()->set_dim(dim);
    request.set_values(Raw<int64_t>({5}));
    request.mutable_mutation()->set_session(std::string(16, 's'));
    request.mutable_mutation()->set_number(number);
    return request;
  }

  void AwaitSubmitted(size_t count) {
    MutexLock lock(&mu_);
    while (tasks_.size() < count) came_.Wait(&mu_);
  }
  size_t submitted() {
    MutexLock lock(&mu_);
    return tasks_.size();
  }
  void Answer(size_t index) {
    ObserveReply reply;
    reply.state = faces_->state();
    reply.state.turn = Turn(index + 1);
    MutexLock lock(&mu_);
    tasks_[index].Reply(EncodeTrainStep(reply));
  }
  void Refuse(size_t index) {
    MutexLock lock(&mu_);
    tasks_[index].Fail(MakeError(absl::StatusCode::kResourceExhausted, "full", {.reason = "MAILBOX_FULL"}));
  }
  // The turn that the next reply names; 0 when the stream is over.
  uint64_t ReadTurn() {
    v1::TrainStepResponse response;
    if (!stream_->Read(&response)) return 0;
    EXPECT_EQ(response.header().instance(), "instance-16bytes");
    return response.header().turn();
  }
  std::string End() {
    v1::TrainStepResponse response;
    EXPECT_FALSE(stream_->Read(&response));
    return ReasonOf(stream_->Finish());
  }

  Mutex mu_;
  CondVar came_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  FakeCatalog catalog_;
  std::shared_ptr<FakeExecutor> faces_;
  CountingObserver observer_;
  ServiceContext context_;
  MemoryService memory_service_{&context_};
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MemoryService::Stub> stub_;
  grpc::ClientContext client_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::TrainStepRequest, v1::TrainStepResponse>> stream_;
};

TEST_F(TrainStreamTest, EveryRequestGoesByTheNameOfItsStreamAndIsALineOfItsOwnAtTheLevelDebug) {
  const testing::LogCapture log;
  ASSERT_TRUE(stream_->Write(Step(1)));
  ASSERT_TRUE(stream_->Write(Step(2)));
  AwaitSubmitted(2);
  {
    MutexLock lock(&mu_);
    for (const Task& task : tasks_) EXPECT_EQ(task.tag->request_id, "stream-1");
  }
  Answer(0);
  EXPECT_EQ(ReadTurn(), 1u);
  EXPECT_EQ(client_.GetServerInitialMetadata().find("x-request-id")->second, "stream-1");
  Refuse(1);
  EXPECT_EQ(End(), "MAILBOX_FULL");
  const std::string first = log.LineWith("\"code\":\"OK\""), second = log.LineWith("\"reason\":\"MAILBOX_FULL\"");
  for (const std::string& line : {first, second}) {
    EXPECT_NE(line.find("\"method\":\"MemoryService/TrainStream\""), std::string::npos) << line;
    EXPECT_NE(line.find("\"request_id\":\"stream-1\""), std::string::npos) << line;
    EXPECT_NE(line.find("\"memory\":\"faces\""), std::string::npos) << line;
  }
}

TEST_F(TrainStreamTest, RepliesComeInTheOrderOfTheRequestsWhateverIsAnsweredFirst) {
  for (uint64_t n = 1; n <= 3; ++n) stream_->Write(Step(n));
  AwaitSubmitted(3);
  for (const size_t index : {2, 0, 1}) Answer(index);
  for (uint64_t turn = 1; turn <= 3; ++turn) EXPECT_EQ(ReadTurn(), turn);
  stream_->WritesDone();
  EXPECT_EQ(End(), "OK");
  EXPECT_EQ(observer_.answered, 3);
}

TEST_F(TrainStreamTest, TheNextRequestIsReadWhenFewerThanAWindowAreInFlight) {
  for (uint64_t n = 1; n <= 5; ++n) stream_->Write(Step(n));
  AwaitSubmitted(3);
  Answer(2);
  Answer(1);
  EXPECT_EQ(submitted(), 3u) << "nothing has left the window: the first request is not answered";
  Answer(0);
  AwaitSubmitted(5);
  for (uint64_t turn = 1; turn <= 3; ++turn) EXPECT_EQ(ReadTurn(), turn);
}

TEST_F(TrainStreamTest, TheFirstRefusalEndsTheStreamAfterTheRepliesBeforeIt) {
  stream_->Write(Step(1));
  stream_->Write(Step(2));
  stream_->Write(Step(3));
  AwaitSubmitted(3);
  Refuse(1);
  Answer(2);
  Answer(0);
  EXPECT_EQ(ReadTurn(), 1u);
  EXPECT_EQ(End(), "MAILBOX_FULL");
}

TEST_F(TrainStreamTest, ARequestThatIsRefusedBeforeTheMailboxWaitsForTheRepliesBeforeItToo) {
  stream_->Write(Step(1));
  stream_->Write(Step(2, /*dim=*/3));
  stream_->Write(Step(3));
  AwaitSubmitted(1);
  while (observer_.refused == 0) std::this_thread::yield();
  Answer(0);
  EXPECT_EQ(ReadTurn(), 1u);
  EXPECT_EQ(End(), "BAD_SHAPE");
  EXPECT_EQ(submitted(), 1u) << "nothing is read behind a refusal";
}

TEST_F(TrainStreamTest, HalfCloseIsAnsweredWithAllRepliesAndThenOk) {
  stream_->Write(Step(1));
  stream_->Write(Step(2));
  stream_->WritesDone();
  AwaitSubmitted(2);
  Answer(0);
  Answer(1);
  EXPECT_EQ(ReadTurn(), 1u);
  EXPECT_EQ(ReadTurn(), 2u);
  EXPECT_EQ(End(), "OK");
}

TEST_F(TrainStreamTest, ADrainEndsAStreamThatStandsIdle) {
  stream_->Write(Step(1));
  AwaitSubmitted(1);
  Answer(0);
  EXPECT_EQ(ReadTurn(), 1u);
  context_.draining.store(true);
  context_.streams.Drain();
  EXPECT_EQ(End(), "DRAINING");
}

TEST_F(TrainStreamTest, ADrainAnswersWhatIsInFlight) {
  stream_->Write(Step(1));
  stream_->Write(Step(2));
  AwaitSubmitted(2);
  context_.draining.store(true);
  context_.streams.Drain();
  Answer(0);
  Answer(1);
  EXPECT_EQ(ReadTurn(), 1u);
  EXPECT_EQ(ReadTurn(), 2u);
  EXPECT_EQ(End(), "DRAINING");
}

TEST_F(TrainStreamTest, TheTasksOfAClientThatHasGoneKnowIt) {
  stream_->Write(Step(1));
  AwaitSubmitted(1);
  client_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  MutexLock lock(&mu_);
  while (!tasks_[0].cancelled()) std::this_thread::yield();
}

}  // namespace
}  // namespace evoke
