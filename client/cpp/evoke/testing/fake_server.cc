#include "evoke/testing/fake_server.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "absl/strings/match.h"
#include "evoke/testing/fake_admin_service.h"
#include "evoke/testing/fake_memory_service.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/server_interceptor.h"

namespace evoke::client {

std::optional<Fault> FakeServer::NextFault(const char* method) {
  std::deque<Fault>& queue = faults_[method];
  if (queue.empty()) return std::nullopt;
  Fault fault = queue.front();
  queue.pop_front();
  return fault;
}

void FakeServer::FillHeader(const FakeMemory& memory, v1::ReplyHeader* header) {
  header->set_memory(memory.description.name());
  header->set_uid(memory.description.uid());
  header->set_epoch(memory.description.epoch());
  header->set_term(1);
  header->set_turn(memory.description.turn());
  header->set_step(memory.description.step());
  header->set_durability(v1::DURABILITY_FSYNC);
}

class FakeServer::HealthImpl final : public grpc::health::v1::Health::Service {
 public:
  explicit HealthImpl(FakeServer* server) : server_(server) {}

  grpc::Status Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* reply) override {
    if (!request->service().empty()) return {grpc::StatusCode::NOT_FOUND, "unknown service"};
    absl::MutexLock lock(&server_->mu_);
    std::deque<ServingStatus>& serving = server_->serving_;
    reply->set_status(static_cast<grpc::health::v1::HealthCheckResponse::ServingStatus>(serving.front()));
    if (serving.size() > 1) serving.pop_front();
    return grpc::Status::OK;
  }

 private:
  FakeServer* const server_;
};

// The one place that sees every call's metadata.
class FakeServer::MetadataRecorder final : public grpc::experimental::Interceptor,
                                           public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  MetadataRecorder(FakeServer* server, std::string method) : server_(server), method_(std::move(method)) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override {
    const std::string path = info->method();  // "/evoke.v1.MemoryService/Query"
    return new MetadataRecorder(server_, path.substr(path.rfind('/') + 1));
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(grpc::experimental::InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      std::map<std::string, std::string> seen;
      for (const auto& [key, value] : *methods->GetRecvInitialMetadata())
        seen.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
      absl::MutexLock lock(&server_->mu_);
      server_->metadata_.emplace_back(method_, std::move(seen));
    }
    methods->Proceed();
  }

 private:
  FakeServer* const server_;
  const std::string method_;
};

FakeServer::FakeServer(const std::string& listen)
    : memory_service_(std::make_unique<MemoryServiceImpl>(this)),
      admin_service_(std::make_unique<AdminServiceImpl>(this)),
      health_(std::make_unique<HealthImpl>(this)) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(memory_service_.get());
  builder.RegisterService(admin_service_.get());
  builder.RegisterService(health_.get());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> recorders;
  recorders.push_back(std::make_unique<MetadataRecorder>(this, ""));
  builder.experimental().SetInterceptorCreators(std::move(recorders));
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) std::abort();  // a test without its server has nothing to say
  address_ = absl::StartsWith(listen, "unix:") ? listen : absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() {
  {
    absl::MutexLock lock(&mu_);
    held_.clear();
  }
  server_->Shutdown(std::chrono::system_clock::now());  // streams may be open
}

void FakeServer::Fail(const std::string& method, std::vector<Fault> faults) {
  absl::MutexLock lock(&mu_);
  for (Fault& fault : faults) faults_[method].push_back(std::move(fault));
}

void FakeServer::Hold(const std::string& method) {
  absl::MutexLock lock(&mu_);
  held_.insert(method);
}

void FakeServer::Release(const std::string& method) {
  absl::MutexLock lock(&mu_);
  held_.erase(method);
}

void FakeServer::AwaitCalls(const std::string& method, size_t count) const {
  absl::MutexLock lock(&mu_);
  const auto arrived = [&] {
    return std::count_if(calls_.begin(), calls_.end(), [&](const SeenCall& call) {
             return call.method == method;
           }) >= static_cast<ptrdiff_t>(count);
  };
  mu_.Await(absl::Condition(&arrived));
}

void FakeServer::KeepLateCopies(int count) {
  absl::MutexLock lock(&mu_);
  late_to_keep_ = count;
}

void FakeServer::AddMemory(const std::string& name, uint32_t key_dim) {
  v1::CreateMemoryRequest request;
  v1::CreateMemoryResponse reply;
  request.set_name(name);
  request.set_uid(Id128::Random().ToBytes());
  request.mutable_spec()->set_key_dim(key_dim);
  admin_service_->CreateMemory(nullptr, &request, &reply);
}

void FakeServer::ForgetSessions(const std::string& name) {
  absl::MutexLock lock(&mu_);
  FakeMemory& memory = memories_.at(name);
  memory.sessions.clear();
  memory.description.set_turn(memory.description.turn() + 1);
  memory.forgotten_turn = memory.description.turn();
}

void FakeServer::SetServing(ServingStatus status) {
  SetServingSequence({status});
}

void FakeServer::SetServingSequence(std::vector<ServingStatus> statuses) {
  absl::MutexLock lock(&mu_);
  serving_.assign(statuses.begin(), statuses.end());
}

std::vector<SeenCall> FakeServer::calls(const std::string& method) const {
  absl::MutexLock lock(&mu_);
  std::vector<SeenCall> result;
  for (const SeenCall& call : calls_) {
    if (call.method == method) result.push_back(call);
  }
  return result;
}

std::vector<std::string> FakeServer::metadata(const std::string& method, const std::string& key) const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> values;
  for (const auto& [of, seen] : metadata_) {
    if (of != method) continue;
    const auto value = seen.find(key);
    values.push_back(value == seen.end() ? "" : value->second);
  }
  return values;
}

uint64_t FakeServer::step(const std::string& name) const {
  absl::MutexLock lock(&mu_);
  return memories_.at(name).description.step();
}

}  // namespace evoke::client
