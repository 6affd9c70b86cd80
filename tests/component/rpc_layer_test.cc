// The services behind a real gRPC server, over a catalog that does what a test says.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/service/admin_service.h"
#include "server/service/health.h"
#include "server/service/listen.h"
#include "server/service/memory_service.h"
#include "tests/component/fake_catalog.h"
#include "tests/testing/log_capture.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;

class RecordingObserver final : public CallObserver {
 public:
  void OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) override {
    MutexLock lock(&mu_);
    calls_.push_back(std::string(method) + " " + absl::StatusCodeToString(code));
    EXPECT_GE(latency, absl::ZeroDuration());
  }
  void OnRefused(std::string_view memory, std::string_view reason) override {
    MutexLock lock(&mu_);
    refused_.push_back(std::string(memory) + "/" + std::string(reason));
  }
  std::vector<std::string> calls() {
    MutexLock lock(&mu_);
    return calls_;
  }
  std::vector<std::string> refused() {
    MutexLock lock(&mu_);
    return refused_;
  }

 private:
  Mutex mu_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_), refused_ ABSL_GUARDED_BY(mu_);
};

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

// "INVALID_ARGUMENT/BAD_SHAPE", with the code twice the same: in the status and in its details.
std::string CodeAndReason(const grpc::Status& status) {
  if (status.ok()) return "OK";
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(status.error_code())) << status.error_message();
  google::rpc::ErrorInfo info;
  if (details.details_size() > 0) details.details(0).UnpackTo(&info);
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())) + "/" + info.reason();
}

// What the reply's first metadata has under `key`; empty: nothing.
std::string ToldAs(const grpc::ClientContext& context, const std::string& key) {
  const auto found = context.GetServerInitialMetadata().find(key);
  return found == context.GetServerInitialMetadata().end() ? "" : std::string(found->second.data(), found->second.size());
}

class RpcLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MemorySpec spec;
    spec.key_dim = 2;
    spec.capacity = 100;
    faces_ = catalog_.Add("faces", spec);
    faces_->on_submit = [](Task task) { task.Fail(absl::InternalError("no test expects this")); };
    context_.catalog = &catalog_;
    context_.admin = &admin_pool_;
    context_.observer = &observer_;
    context_.limits.Set({.max_message_bytes = 1 << 20, .max_rows = 64, .max_k = 16});
    context_.instance = "instance-16bytes";
    context_.version = "9.9.9";
    context_.started = absl::Now();
    auto listening = Listen({.addresses = {"127.0.0.1:0"},
                             .max_message_bytes = 1 << 20,
                             .services = {&memory_service_, &admin_service_}});
    ASSERT_TRUE(listening.ok()) << listening.status();
    server_ = std::move(listening->server);
    SetHealth(server_.get(), {});
    channel_ = grpc::CreateChannel(listening->addresses[0], grpc::InsecureChannelCredentials());
    memory_ = v1::MemoryService::NewStub(channel_);
    admin_ = v1::AdminService::NewStub(channel_);
  }
  void TearDown() override { server_->Shutdown(std::chrono::system_clock::now()); }

  static v1::QueryRequest OneRowQuery() {
    v1::QueryRequest request;
    request.mutable_memory()->set_name("faces");
    request.mutable_embeddings()->set_data(Raw<float>({3, 4}));
    request.mutable_embeddings()->set_dtype(v1::DTYPE_FLOAT32);
    request.mutable_embeddings()->set_rows(1);
    request.mutable_embeddings()->set_dim(2);
    return request;
  }
  static v1::TrainStepRequest OneRowStep() {
    v1::TrainStepRequest request;
    request.mutable_memory()->set_name("faces");
    *request.mutable_embeddings() = OneRowQuery().embeddings();
    request.set_values(Raw<int64_t>({5}));
    request.mutable_mutation()->set_session(std::string(16, 's'));
    request.mutable_mutation()->set_number(1);
    return request;
  }

  // Sends bytes as they are.
  grpc::Status CallRaw(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1), reply;
    grpc::Status status;
    std::promise<void> done;
    stub.UnaryCall(&context, method, {}, &request, &reply, [&](grpc::Status s) {
      status = s;
      done.set_value();
    });
    done.get_future().wait();
    return status;
  }

  FakeCatalog catalog_;
  std::shared_ptr<FakeExecutor> faces_;
  RecordingObserver observer_;
  ThreadPool admin_pool_{"admin", 1};
  ServiceContext context_;
  MemoryService memory_service_{&context_};
  AdminService admin_service_{&context_};
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::MemoryService::Stub> memory_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

TEST_F(RpcLayerTest, QueryReachesTheExecutorAndItsAnswerComesBack) {
  faces_->on_submit = [this](Task task) {
    auto& call = std::get<QueryCall>(task.call);
    EXPECT_EQ(call.rows.unit, (std::vector<float>{0.6f, 0.8f}));
    QueryReply reply;
    reply.state = faces_->state();
    reply.rows = 1;
    reply.answered = {1};
    reply.values = {42};
    reply.confidences = {0.5f};
    call.done(reply);
  };
  grpc::ClientContext context;
  v1::QueryResponse response;
  const grpc::Status status = memory_->Query(&context, OneRowQuery(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.values(), Raw<int64_t>({42}));
  EXPECT_EQ(response.header().instance(), "instance-16bytes");
  EXPECT_EQ(response.header().term(), 1u);
  EXPECT_EQ(response.header().turn(), 3u);
  EXPECT_THAT(observer_.calls(), ::testing::ElementsAre("MemoryService/Query OK"));
}

TEST_F(RpcLayerTest, AStoredReplyIsSentWithInstanceAndTermAdded) {
  faces_->on_submit = [this](Task task) {
    auto& call = std::get<ObserveCall>(task.call);
    EXPECT_EQ(call.mutation->number, 1u);
    ObserveReply reply;
    reply.state = faces_->state();
    reply.rows = 1;
    reply.losses = {0.25f};
    call.done(call.encode(reply));
  };
  grpc::ClientContext context;
  v1::TrainStepResponse response;
  const grpc::Status status = memory_->TrainStep(&context, OneRowStep(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.losses(), Raw<float>({0.25f}));
  EXPECT_EQ(response.header().memory(), "faces");
  EXPECT_EQ(response.header().instance(), "instance-16bytes");
  EXPECT_EQ(response.header().term(), 1u);
}

TEST_F(RpcLayerTest, TheRequirementsOfTheRequestTravelWithTheTask) {
  faces_->on_submit = [](Task task) {
    EXPECT_EQ(task.epoch, 7u);
    EXPECT_EQ(task.min_turn, 9u);
    EXPECT_LT(task.deadline, absl::Now() + absl::Seconds(61));
    EXPECT_GT(task.deadline, absl::Now() + absl::Seconds(30));
    EXPECT_FALSE(task.cancelled());
    task.Fail(MakeError(absl::StatusCode::kUnavailable, "later",
                        {.reason = "BEHIND", .retry_delay = absl::Milliseconds(20)}));
  };
  v1::QueryRequest request = OneRowQuery();
  request.mutable_memory()->set_epoch(7);
  request.mutable_memory()->set_min_turn(9);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::QueryResponse response;
  EXPECT_EQ(CodeAndReason(memory_->Query(&context, request, &response)), "UNAVAILABLE/BEHIND");
}

TEST_F(RpcLayerTest, ARefusedRequestNeverReachesTheExecutor) {
  v1::TrainStepRequest request = OneRowStep();
  request.mutable_embeddings()->set_dim(3);
  grpc::ClientContext context;
  v1::TrainStepResponse response;
  const grpc::Status status = memory_->TrainStep(&context, request, &response);
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT/BAD_SHAPE");
  EXPECT_EQ(status.error_message(), "train step has 3 dimensions, memory \"faces\" expects 2");
  EXPECT_EQ(faces_->submitted, 0);
  EXPECT_THAT(observer_.refused(), ::testing::ElementsAre("faces/BAD_SHAPE"));
  EXPECT_THAT(observer_.calls(), ::testing::ElementsAre("MemoryService/TrainStep INVALID_ARGUMENT"));
}

TEST_F(RpcLayerTest, AnUnknownMemoryIsNotFoundInEveryMethod) {
  v1::MemoryRef ref;
  ref.set_name("nobody");
  const auto check = [](const grpc::Status& status) {
    EXPECT_EQ(CodeAndReason(status), "NOT_FOUND/MEMORY_NOT_FOUND");
  };
  {
    grpc::ClientContext context;
    v1::GetSlotsRequest request;
    *request.mutable_memory() = ref;
    v1::GetSlotsResponse response;
    check(memory_->GetSlots(&context, request, &response));
  }
  {
    grpc::ClientContext context;
    v1::DescribeMemoryRequest request;
    *request.mutable_memory() = ref;
    v1::DescribeMemoryResponse response;
    check(admin_->DescribeMemory(&context, request, &response));
  }
  {
    grpc::ClientContext context;
    v1::StateHashRequest request;
    *request.mutable_memory() = ref;
    v1::StateHashResponse response;
    check(admin_->StateHash(&context, request, &response));
  }
  {
    grpc::ClientContext context;
    v1::ClearMemoryRequest request;
    *request.mutable_memory() = ref;
    v1::ClearMemoryResponse response;
    check(admin_->ClearMemory(&context, request, &response));
  }
  EXPECT_THAT(observer_.refused(), ::testing::Each("/MEMORY_NOT_FOUND"));
}

TEST_F(RpcLayerTest, CancellationReachesTheTask) {
  std::promise<Task> waiting;
  faces_->on_submit = [&](Task task) { waiting.set_value(std::move(task)); };
  grpc::ClientContext context;
  v1::QueryResponse response;
  std::thread client([&] {
    EXPECT_EQ(memory_->Query(&context, OneRowQuery(), &response).error_code(), grpc::StatusCode::CANCELLED);
  });
  Task task = waiting.get_future().get();
  EXPECT_FALSE(task.cancelled());
  context.TryCancel();
  client.join();
  while (!task.cancelled()) std::this_thread::yield();
  task.Fail(absl::CancelledError("nobody waits"));
}

TEST_F(RpcLayerTest, BytesThatAreNoMessageAreABadArgument) {
  for (const char* method : {"/evoke.v1.MemoryService/Query", "/evoke.v1.MemoryService/Update",
                             "/evoke.v1.MemoryService/TrainStep", "/evoke.v1.MemoryService/GetSlots",
                             "/evoke.v1.AdminService/CreateMemory", "/evoke.v1.AdminService/ClearMemory",
                             "/evoke.v1.AdminService/DeleteMemory", "/evoke.v1.AdminService/DescribeMemory",
                             "/evoke.v1.AdminService/StateHash", "/evoke.v1.AdminService/ListMemories",
                             "/evoke.v1.AdminService/Status"}) {
    EXPECT_EQ(CodeAndReason(CallRaw(method, "\xff\xff\xff\xff")), "INVALID_ARGUMENT/BAD_ARGUMENT") << method;
  }
}

TEST_F(RpcLayerTest, SpoiledRequestsAreRefusedOrRight) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  faces_->on_submit = [](Task task) {
    task.Fail(MakeError(absl::StatusCode::kAborted, "right", {.reason = "RIGHT"}));
  };
  const std::string good = OneRowStep().SerializeAsString();
  for (int i = 0; i < 500; ++i) {
    std::string bytes = good;
    const size_t place = random() % bytes.size();
    bytes[place] = static_cast<char>(bytes[place] ^ (1 + random() % 255));
    bytes.resize(random() % 4 == 0 ? random() % bytes.size() : bytes.size());
    const grpc::Status status = CallRaw("/evoke.v1.MemoryService/TrainStep", bytes);
    // What is still a right request reaches the executor.
    EXPECT_THAT(CodeAndReason(status), ::testing::AnyOf(HasSubstr("INVALID_ARGUMENT/"),
                                                        "NOT_FOUND/MEMORY_NOT_FOUND", "ABORTED/RIGHT"));
  }
}

TEST_F(RpcLayerTest, ARequestThatIsTooLargeNamesBothNumbers) {
  const grpc::Status status = CallRaw("/evoke.v1.MemoryService/Query", std::string((1 << 20) + 5, '\0'));
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT/TOO_LARGE");
  EXPECT_THAT(status.error_message(), HasSubstr("1048581, the limit is 1048576"));
}

TEST_F(RpcLayerTest, TheNamesOfARequestComeBackAndGoOnToItsTask) {
  RequestTag tag;
  faces_->on_submit = [&](Task task) {
    tag = *task.tag;
    task.Fail(MakeError(absl::StatusCode::kAborted, "right", {.reason = "RIGHT"}));
  };
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "order-66");
  context.AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  v1::QueryResponse response;
  const grpc::Status status = memory_->Query(&context, OneRowQuery(), &response);
  EXPECT_EQ(tag.request_id, "order-66");
  EXPECT_EQ(tag.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(tag.span_id, "00f067aa0ba902b7");
  EXPECT_EQ(ToldAs(context, "x-request-id"), "order-66");
  EXPECT_EQ(ToldAs(context, "traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::RequestInfo info;
  ASSERT_TRUE(details.details(details.details_size() - 1).UnpackTo(&info));
  EXPECT_EQ(info.request_id(), "order-66");
}

TEST_F(RpcLayerTest, NamesThatAreNoneAreReplacedAndRefuseNobody) {
  RequestTag tag;
  faces_->on_submit = [&](Task task) {
    tag = *task.tag;
    task.Fail(MakeError(absl::StatusCode::kAborted, "right", {.reason = "RIGHT"}));
  };
  for (const std::vector<std::string>& ids :
       {std::vector<std::string>{}, {"two words"}, {std::string(129, 'x')}, {"one", "two"}}) {
    grpc::ClientContext context;
    for (const std::string& id : ids) context.AddMetadata("x-request-id", id);
    context.AddMetadata("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01");
    v1::QueryResponse response;
    EXPECT_EQ(CodeAndReason(memory_->Query(&context, OneRowQuery(), &response)), "ABORTED/RIGHT");
    EXPECT_THAT(tag.request_id, ::testing::StartsWith("696e7374-"));  // the instance begins with "inst"
    EXPECT_EQ(tag.trace_id, "");
    EXPECT_EQ(ToldAs(context, "x-request-id"), tag.request_id);
    EXPECT_EQ(ToldAs(context, "traceparent"), "");
  }
}

TEST_F(RpcLayerTest, ACallIsALineAtTheLevelDebugAndNothingAtAnyOther) {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kDebug}) {
    const testing::LogCapture log(level);
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", "order-66");
    v1::QueryRequest request = OneRowQuery();
    request.mutable_memory()->set_name("no\nsuch");
    v1::QueryResponse response;
    EXPECT_EQ(CodeAndReason(memory_->Query(&context, request, &response)), "NOT_FOUND/MEMORY_NOT_FOUND");
    if (level == LogLevel::kInfo) {
      EXPECT_EQ(log.text(), "");
      continue;
    }
    const nlohmann::json line = nlohmann::json::parse(log.LineWith("\"msg\":\"call\""));
    EXPECT_EQ(line["method"], "MemoryService/Query");
    EXPECT_EQ(line["memory"], "no\nsuch");
    EXPECT_EQ(line["code"], "NOT_FOUND");
    EXPECT_EQ(line["reason"], "MEMORY_NOT_FOUND");
    EXPECT_EQ(line["request_id"], "order-66");
    EXPECT_GE(line["seconds"], 0.0);
  }
}

TEST_F(RpcLayerTest, OurBugsCarryARequestIdUnderWhichTheLogHasMore) {
  const testing::LogCapture log(LogLevel::kError);
  grpc::ClientContext context;
  v1::QueryResponse response;
  const grpc::Status status = memory_->Query(&context, OneRowQuery(), &response);
  EXPECT_EQ(CodeAndReason(status), "INTERNAL/INTERNAL");
  EXPECT_THAT(status.error_message(), HasSubstr("request id 696e7374-"));  // the instance begins with "inst"
  const nlohmann::json line = nlohmann::json::parse(log.text());
  EXPECT_THAT(status.error_message(), HasSubstr("request id " + std::string(line["request_id"]) + ":"));
  EXPECT_EQ(line["method"], "MemoryService/Query");
}

TEST_F(RpcLayerTest, DrainingRefusesMutationsAndAnswersReads) {
  context_.draining.store(true);
  {
    grpc::ClientContext context;
    v1::TrainStepResponse response;
    EXPECT_EQ(CodeAndReason(memory_->TrainStep(&context, OneRowStep(), &response)), "UNAVAILABLE/DRAINING");
  }
  {
    grpc::ClientContext context;
    v1::CreateMemoryRequest request;
    request.set_name("new");
    request.mutable_spec()->set_key_dim(2);
    request.mutable_spec()->set_capacity(8);
    v1::CreateMemoryResponse response;
    EXPECT_EQ(CodeAndReason(admin_->CreateMemory(&context, request, &response)), "UNAVAILABLE/DRAINING");
  }
  EXPECT_EQ(faces_->submitted, 0);
  grpc::ClientContext context;
  v1::StatusResponse response;
  ASSERT_TRUE(admin_->Status(&context, {}, &response).ok());
  EXPECT_EQ(response.state(), v1::SERVER_STATE_DRAINING);
}

TEST_F(RpcLayerTest, MutationsUnderWayAreCounted) {
  std::promise<Task> waiting;
  faces_->on_submit = [&](Task task) { waiting.set_value(std::move(task)); };
  EXPECT_TRUE(context_.mutations.WaitForNone(absl::ZeroDuration()));
  std::thread client([&] {
    grpc::ClientContext context;
    v1::TrainStepResponse response;
    memory_->TrainStep(&context, OneRowStep(), &response);
  });
  Task task = waiting.get_future().get();
  EXPECT_FALSE(context_.mutations.WaitForNone(absl::ZeroDuration()));
  task.Fail(absl::AbortedError("x"));
  client.join();
  EXPECT_TRUE(context_.mutations.WaitForNone(absl::Seconds(10)));
}

TEST_F(RpcLayerTest, CreateAnswersWithTheWholeSpec) {
  grpc::ClientContext context;
  v1::CreateMemoryRequest request;
  request.set_name("new");
  request.mutable_spec()->set_key_dim(2);
  request.mutable_spec()->set_capacity(640);
  v1::CreateMemoryResponse response;
  ASSERT_TRUE(admin_->CreateMemory(&context, request, &response).ok());
  EXPECT_TRUE(response.created());
  EXPECT_EQ(response.spec().age_noise(), 10u);
  EXPECT_EQ(response.header().memory(), "new");
}

TEST_F(RpcLayerTest, CreateRefusesBadNames) {
  for (const std::string& name : {std::string(), std::string("a b"), std::string(".x"), std::string("-x"),
                                  std::string(129, 'x'), std::string("a/b")}) {
    grpc::ClientContext context;
    v1::CreateMemoryRequest request;
    request.set_name(name);
    request.mutable_spec()->set_key_dim(2);
    request.mutable_spec()->set_capacity(8);
    v1::CreateMemoryResponse response;
    EXPECT_EQ(CodeAndReason(admin_->CreateMemory(&context, request, &response)),
              "INVALID_ARGUMENT/BAD_ARGUMENT")
        << name;
  }
}

TEST_F(RpcLayerTest, ALoadingMemoryIsDescribedWithoutATurn) {
  faces_->figures_.state = MemoryState::kLoading;
  faces_->figures_.slots_to_load = 12;
  grpc::ClientContext context;
  v1::DescribeMemoryRequest request;
  request.mutable_memory()->set_name("faces");
  v1::DescribeMemoryResponse response;
  ASSERT_TRUE(admin_->DescribeMemory(&context, request, &response).ok());
  EXPECT_EQ(response.description().state(), v1::MEMORY_STATE_LOADING);
  EXPECT_EQ(response.description().slots_to_load(), 12u);
  EXPECT_EQ(faces_->submitted, 0);
}

TEST_F(RpcLayerTest, StatusTellsLimits) {
  grpc::ClientContext context;
  v1::StatusResponse response;
  ASSERT_TRUE(admin_->Status(&context, {}, &response).ok());
  EXPECT_EQ(response.version(), "9.9.9");
  EXPECT_EQ(response.limits().max_rows(), 64u);
  EXPECT_EQ(response.limits().max_payload_bytes(), 4096u);
  EXPECT_EQ(response.memories_size(), 1);
  EXPECT_EQ(response.state(), v1::SERVER_STATE_SERVING);
  EXPECT_EQ(response.arithmetic_fingerprint().size(), 16u);
}

grpc::health::v1::HealthCheckResponse::ServingStatus HealthOf(const std::shared_ptr<grpc::Channel>& channel,
                                                              const std::string& service) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, request, &response);
  return status.ok() ? response.status() : grpc::health::v1::HealthCheckResponse::SERVICE_UNKNOWN;
}

TEST_F(RpcLayerTest, HealthFollowsTheState) {
  using Response = grpc::health::v1::HealthCheckResponse;
  const auto healths = [&] {
    return std::vector<Response::ServingStatus>{HealthOf(channel_, ""),
                                                HealthOf(channel_, "evoke.v1.MemoryService"),
                                                HealthOf(channel_, "evoke.v1.AdminService")};
  };
  EXPECT_THAT(healths(), ::testing::ElementsAre(Response::SERVING, Response::SERVING, Response::SERVING));
  SetHealth(server_.get(), {.loading = true});
  EXPECT_THAT(healths(),
              ::testing::ElementsAre(Response::NOT_SERVING, Response::NOT_SERVING, Response::SERVING));
  SetHealth(server_.get(), {.draining = true});
  EXPECT_THAT(healths(),
              ::testing::ElementsAre(Response::NOT_SERVING, Response::NOT_SERVING, Response::NOT_SERVING));
  EXPECT_EQ(HealthOf(channel_, "nobody"), Response::SERVICE_UNKNOWN);
}

// Asks the reflection service, whose messages have no header here: they are made from its descriptors.
std::string AskReflection(const std::shared_ptr<grpc::Channel>& channel, const std::string& request_text) {
  using google::protobuf::DescriptorPool;
  using google::protobuf::MessageFactory;
  const auto make = [](const char* name) {
    return std::unique_ptr<google::protobuf::Message>(
        MessageFactory::generated_factory()
            ->GetPrototype(DescriptorPool::generated_pool()->FindMessageTypeByName(name))
            ->New());
  };
  auto request = make("grpc.reflection.v1alpha.ServerReflectionRequest");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(request_text, request.get()));
  const std::string bytes = request->SerializeAsString();

  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&] {
    void* tag;
    bool ok;
    return queue.Next(&tag, &ok) && ok;
  };
  auto stream =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  stream->StartCall(nullptr);
  EXPECT_TRUE(wait());
  grpc::Slice slice(bytes);
  stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  EXPECT_TRUE(wait());
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  EXPECT_TRUE(wait());
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  grpc::Slice answer_slice;
  EXPECT_TRUE(answer.DumpToSingleSlice(&answer_slice).ok());
  auto response = make("grpc.reflection.v1alpha.ServerReflectionResponse");
  EXPECT_TRUE(response->ParseFromArray(answer_slice.begin(), static_cast<int>(answer_slice.size())));
  return response->DebugString();
}

TEST_F(RpcLayerTest, ReflectionListsAndResolvesEveryService) {
  const std::string list = AskReflection(channel_, "list_services: ''");
  for (const char* service : {"evoke.v1.MemoryService", "evoke.v1.AdminService", "grpc.health.v1.Health",
                              "grpc.reflection.v1alpha.ServerReflection"}) {
    EXPECT_THAT(list, HasSubstr(std::string("name: \"") + service + "\""));
    const std::string answer =
        AskReflection(channel_, std::string("file_containing_symbol: '") + service + "'");
    EXPECT_THAT(answer, HasSubstr("file_descriptor_proto")) << service;
    EXPECT_THAT(answer, ::testing::Not(HasSubstr("\nerror_response {"))) << service;
  }
}

}  // namespace
}  // namespace evoke
