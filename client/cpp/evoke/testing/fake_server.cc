#include "evoke/testing/fake_server.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace evoke::client {
namespace {

grpc::Status ToGrpc(const Fault& fault) {
  const auto code = static_cast<grpc::StatusCode>(fault.code);
  if (fault.reason.empty() && !fault.retry_delay.has_value()) return {code, "scripted"};
  google::rpc::Status model;
  model.set_code(static_cast<int>(fault.code));
  model.set_message("scripted");
  google::rpc::ErrorInfo info;
  info.set_reason(fault.reason);
  info.set_domain("evoke");
  info.mutable_metadata()->insert(fault.metadata.begin(), fault.metadata.end());
  model.add_details()->PackFrom(info);
  if (fault.retry_delay.has_value()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(*fault.retry_delay));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(*fault.retry_delay) % 1000000000));
    model.add_details()->PackFrom(retry);
  }
  return {code, "scripted", model.SerializeAsString()};
}

grpc::Status SessionError(absl::StatusCode code, const char* reason, uint64_t last_number) {
  return ToGrpc({.code = code, .reason = reason, .metadata = {{"last_number", absl::StrCat(last_number)}}});
}

grpc::Status NotFound() {
  return ToGrpc({.code = absl::StatusCode::kNotFound, .reason = "MEMORY_NOT_FOUND"});
}

std::string Zeros(size_t size) {
  return std::string(size, '\0');
}

}  // namespace

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

template <typename Request, typename Reply, typename Work>
grpc::Status FakeServer::ServeMutation(const Request& request, FakeMemory& memory, Reply* reply, Work work) {
  const v1::Mutation& mutation = request.mutation();
  auto it = memory.sessions.find(mutation.session());
  if (it == memory.sessions.end()) {
    if (mutation.number() != 1 || mutation.opened_after() < memory.forgotten_turn) {
      return SessionError(absl::StatusCode::kFailedPrecondition, "SESSION_UNKNOWN", 0);
    }
    it = memory.sessions.emplace(mutation.session(), Session()).first;
  }
  Session& session = it->second;
  if (mutation.number() == session.last_number) {
    reply->ParseFromString(session.reply);
    return grpc::Status::OK;
  }
  if (mutation.number() != session.last_number + 1) {
    return SessionError(absl::StatusCode::kFailedPrecondition,
                        mutation.number() > session.last_number ? "STEP_OUT_OF_ORDER" : "STEP_TOO_OLD",
                        session.last_number);
  }
  memory.description.set_turn(memory.description.turn() + 1);
  work(memory);
  FillHeader(memory, reply->mutable_header());
  session.last_number = mutation.number();
  session.reply = reply->SerializeAsString();
  return grpc::Status::OK;
}

template <typename Request, typename Reply, typename Work>
grpc::Status FakeServer::Serve(const char* method, const Request& request, Reply* reply, Work work) {
  absl::MutexLock lock(&mu_);
  SeenCall& call = calls_.emplace_back();
  call.method = method;
  call.uid = request.memory().uid();
  bool mutates = false;
  if constexpr (requires { request.mutation(); }) {
    mutates = request.has_mutation();
    call.session = request.mutation().session();
    call.number = request.mutation().number();
    call.first_unacknowledged = request.mutation().first_unacknowledged();
    call.opened_after = request.mutation().opened_after();
  }
  const std::optional<Fault> fault = NextFault(method);
  if (fault.has_value() && !fault->apply) return ToGrpc(*fault);

  const auto it = memories_.find(request.memory().name());
  if (it == memories_.end()) return NotFound();
  FakeMemory& memory = it->second;
  if (!request.memory().uid().empty() && request.memory().uid() != memory.description.uid()) {
    return ToGrpc({.code = absl::StatusCode::kFailedPrecondition, .reason = "STALE_MEMORY"});
  }
  grpc::Status status;
  if constexpr (requires { request.mutation(); }) {
    if (mutates) status = ServeMutation(request, memory, reply, work);
  }
  if (!mutates) {
    work(memory);
    FillHeader(memory, reply->mutable_header());
  }
  return fault.has_value() ? ToGrpc(*fault) : status;
}

class FakeServer::MemoryServiceImpl final : public v1::MemoryService::Service {
 public:
  explicit MemoryServiceImpl(FakeServer* server) : server_(server) {}

  grpc::Status Query(grpc::ServerContext*, const v1::QueryRequest* request,
                     v1::QueryResponse* reply) override {
    return server_->Serve("Query", *request, reply, [&](FakeMemory&) {
      const size_t rows = request->embeddings().rows();
      reply->set_rows(request->embeddings().rows());
      reply->set_answered(Zeros((rows + 7) / 8));
      reply->set_values(Zeros(rows * 8));
      reply->set_confidences(Zeros(rows * 4));
    });
  }

  grpc::Status Update(grpc::ServerContext*, const v1::UpdateRequest* request,
                      v1::UpdateResponse* reply) override {
    return server_->Serve("Update", *request, reply,
                          [&](FakeMemory& memory) { Observe(*request, memory, reply); });
  }

  grpc::Status TrainStep(grpc::ServerContext*, const v1::TrainStepRequest* request,
                         v1::TrainStepResponse* reply) override {
    return server_->Serve("TrainStep", *request, reply, [&](FakeMemory& memory) {
      const size_t rows = request->embeddings().rows();
      Observe(*request, memory, reply);
      reply->set_answered(Zeros((rows + 7) / 8));
      reply->set_values(request->values());
      reply->set_confidences(Zeros(rows * 4));
      reply->set_losses(Zeros(rows * 4));
      reply->set_positive_found(Zeros((rows + 7) / 8));
      reply->set_negative_found(Zeros((rows + 7) / 8));
    });
  }

  grpc::Status GetSlots(grpc::ServerContext*, const v1::GetSlotsRequest* request,
                        v1::GetSlotsResponse* reply) override {
    return server_->Serve("GetSlots", *request, reply, [&](FakeMemory&) {
      for (const uint64_t slot : request->slots()) reply->add_slots()->set_slot(slot);
      for (const int64_t value : request->values()) reply->add_values()->set_value(value);
    });
  }

 private:
  template <typename Request, typename Reply>
  static void Observe(const Request& request, FakeMemory& memory, Reply* reply) {
    reply->set_rows(request.embeddings().rows());
    std::string slots, outcomes;
    for (uint32_t row = 0; row < request.embeddings().rows(); ++row) {
      const uint64_t slot = request.has_mutation() ? memory.description.step() : ~uint64_t{0};
      if (request.has_mutation()) memory.description.set_step(slot + 1);
      slots.append(reinterpret_cast<const char*>(&slot), sizeof(slot));
      outcomes.push_back(request.has_mutation() ? v1::OUTCOME_FREE : v1::OUTCOME_NONE);
    }
    reply->set_slots(slots);
    reply->set_outcomes(outcomes);
  }

  FakeServer* const server_;
};

class FakeServer::AdminServiceImpl final : public v1::AdminService::Service {
 public:
  explicit AdminServiceImpl(FakeServer* server) : server_(server) {}

  grpc::Status CreateMemory(grpc::ServerContext*, const v1::CreateMemoryRequest* request,
                            v1::CreateMemoryResponse* reply) override {
    absl::MutexLock lock(&server_->mu_);
    server_->calls_.push_back({.method = "CreateMemory", .uid = request->uid()});
    const std::optional<Fault> fault = server_->NextFault("CreateMemory");
    if (fault.has_value() && !fault->apply) return ToGrpc(*fault);
    if (request->dry_run()) {  // a byte a float, of a budget of 1,000
      const uint64_t bytes = request->spec().capacity() * request->spec().key_dim();
      *reply->mutable_spec() = request->spec();
      reply->mutable_plan()->set_ram_bytes(bytes);
      reply->mutable_plan()->set_budget_bytes(1000);
      reply->mutable_plan()->set_fits(bytes <= 1000);
      return grpc::Status::OK;
    }
    const auto [it, created] = server_->memories_.try_emplace(request->name());
    v1::MemoryDescription& description = it->second.description;
    if (created) {
      description.set_name(request->name());
      description.set_uid(request->uid());
      *description.mutable_spec() = request->spec();
      description.set_state(v1::MEMORY_STATE_SERVING);
      description.set_epoch(1);
      description.set_turn(1);
      description.set_state_hash(std::string(32, '0'));
    } else if (!request->if_not_exists() && request->uid() != description.uid()) {
      return ToGrpc({.code = absl::StatusCode::kAlreadyExists, .reason = "MEMORY_EXISTS"});
    }
    FillHeader(it->second, reply->mutable_header());
    *reply->mutable_spec() = description.spec();
    reply->set_created(created);
    return fault.has_value() ? ToGrpc(*fault) : grpc::Status::OK;
  }

  grpc::Status DescribeMemory(grpc::ServerContext*, const v1::DescribeMemoryRequest* request,
                              v1::DescribeMemoryResponse* reply) override {
    return server_->Serve("DescribeMemory", *request, reply,
                          [&](FakeMemory& memory) { *reply->mutable_description() = memory.description; });
  }

  grpc::Status ListMemories(grpc::ServerContext*, const v1::ListMemoriesRequest*,
                            v1::ListMemoriesResponse* reply) override {
    absl::MutexLock lock(&server_->mu_);
    for (const auto& [name, memory] : server_->memories_) *reply->add_memories() = memory.description;
    return grpc::Status::OK;
  }

  grpc::Status ClearMemory(grpc::ServerContext*, const v1::ClearMemoryRequest* request,
                           v1::ClearMemoryResponse* reply) override {
    return server_->Serve("ClearMemory", *request, reply, [&](FakeMemory& memory) {
      memory.description.set_epoch(memory.description.epoch() + 1);
      reply->set_freed_slots(memory.description.step());
    });
  }

  grpc::Status DeleteMemory(grpc::ServerContext*, const v1::DeleteMemoryRequest* request,
                            v1::DeleteMemoryResponse* reply) override {
    absl::MutexLock lock(&server_->mu_);
    server_->calls_.push_back({.method = "DeleteMemory", .uid = request->uid()});
    const std::optional<Fault> fault = server_->NextFault("DeleteMemory");
    if (fault.has_value() && !fault->apply) return ToGrpc(*fault);
    const auto it = server_->memories_.find(request->name());
    if (it == server_->memories_.end()) return request->uid().empty() ? NotFound() : grpc::Status::OK;
    if (!request->uid().empty() && request->uid() != it->second.description.uid()) {
      return ToGrpc({.code = absl::StatusCode::kFailedPrecondition, .reason = "STALE_MEMORY"});
    }
    reply->set_uid(it->second.description.uid());
    reply->set_deleted(true);
    server_->memories_.erase(it);
    return fault.has_value() ? ToGrpc(*fault) : grpc::Status::OK;
  }

  grpc::Status StateHash(grpc::ServerContext*, const v1::StateHashRequest* request,
                         v1::StateHashResponse* reply) override {
    return server_->Serve("StateHash", *request, reply, [&](FakeMemory& memory) {
      reply->set_state_hash(memory.description.state_hash());
    });
  }

  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*, v1::StatusResponse* reply) override {
    absl::MutexLock lock(&server_->mu_);
    if (const auto fault = server_->NextFault("Status")) return ToGrpc(*fault);
    reply->set_version("fake");
    reply->set_state(v1::SERVER_STATE_SERVING);
    reply->mutable_limits()->set_max_rows(4096);
    for (const auto& [name, memory] : server_->memories_) *reply->add_memories() = memory.description;
    return grpc::Status::OK;
  }

 private:
  FakeServer* const server_;
};

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
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) std::abort();  // a test without its server has nothing to say
  address_ = absl::StartsWith(listen, "unix:") ? listen : absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() {
  server_->Shutdown();
}

void FakeServer::Fail(const std::string& method, std::vector<Fault> faults) {
  absl::MutexLock lock(&mu_);
  for (Fault& fault : faults) faults_[method].push_back(std::move(fault));
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

uint64_t FakeServer::step(const std::string& name) const {
  absl::MutexLock lock(&mu_);
  return memories_.at(name).description.step();
}

}  // namespace evoke::client
