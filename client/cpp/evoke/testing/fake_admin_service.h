// The calls of FakeServer that make, copy and describe memories. Internal.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "evoke/testing/fake_server_calls.h"

namespace evoke::client {

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

  grpc::Status ForkMemory(grpc::ServerContext*, const v1::ForkMemoryRequest* request,
                          v1::ForkMemoryResponse* reply) override {
    return server_->ServeStream("ForkMemory", *request, [&](FakeMemory& memory, bool) {
      FakeMemory* copy = nullptr;
      const grpc::Status status = Copy(memory, request->name(), request->uid(), &copy);
      if (!status.ok()) return status;
      FillHeader(*copy, reply->mutable_header());
      FillToken(memory, reply->mutable_origin());
      return status;
    });
  }

  grpc::Status CreateSnapshot(grpc::ServerContext*, const v1::CreateSnapshotRequest* request,
                              grpc::ServerWriter<v1::CreateSnapshotResponse>* writer) override {
    return server_->ServeStream("CreateSnapshot", *request, [&](FakeMemory& memory, bool lost) {
      v1::Snapshot& made = memory.snapshots.emplace_back();
      made.set_id(absl::StrCat(memory.description.epoch(), "-", memory.description.turn(), "-",
                               memory.snapshots.size()));
      made.set_memory(memory.description.name());
      *made.mutable_spec() = memory.description.spec();
      FillToken(memory, made.mutable_token());
      if (!lost) Tell("hash", made, writer);
      return grpc::Status::OK;
    });
  }

  grpc::Status ListSnapshots(grpc::ServerContext*, const v1::ListSnapshotsRequest* request,
                             v1::ListSnapshotsResponse* reply) override {
    return server_->ServeStream("ListSnapshots", *request, [&](FakeMemory& memory, bool) {
      for (const v1::Snapshot& snapshot : memory.snapshots) *reply->add_snapshots() = snapshot;
      return grpc::Status::OK;
    });
  }

  grpc::Status VerifySnapshot(grpc::ServerContext*, const v1::VerifySnapshotRequest* request,
                              grpc::ServerWriter<v1::VerifySnapshotResponse>* writer) override {
    return server_->ServeStream("VerifySnapshot", *request, [&](FakeMemory& memory, bool) {
      return TellOf(memory, request->id(), "check", writer);
    });
  }

  grpc::Status CopySnapshot(grpc::ServerContext*, const v1::CopySnapshotRequest* request,
                            grpc::ServerWriter<v1::CopySnapshotResponse>* writer) override {
    return server_->ServeStream("CopySnapshot", *request, [&](FakeMemory& memory, bool) {
      return TellOf(memory, request->id(), "copy", writer);
    });
  }

  grpc::Status DeleteSnapshot(grpc::ServerContext*, const v1::DeleteSnapshotRequest* request,
                              v1::DeleteSnapshotResponse* reply) override {
    return server_->ServeStream("DeleteSnapshot", *request, [&](FakeMemory& memory, bool) {
      reply->set_deleted(
          std::erase_if(memory.snapshots, [&](const auto& s) { return s.id() == request->id(); }) > 0);
      return grpc::Status::OK;
    });
  }

  grpc::Status RestoreSnapshot(grpc::ServerContext*, const v1::RestoreSnapshotRequest* request,
                               grpc::ServerWriter<v1::RestoreSnapshotResponse>* writer) override {
    return server_->ServeStream("RestoreSnapshot", *request, [&](FakeMemory& memory, bool lost) {
      for (const v1::Snapshot& snapshot : memory.snapshots) {
        const bool wanted = request->id().empty() ? request->token().turn() == snapshot.token().turn()
                                                  : request->id() == snapshot.id();
        if (!wanted) continue;
        FakeMemory* target = &memory;
        if (!request->new_name().empty()) {
          const grpc::Status status = Copy(memory, request->new_name(), request->new_uid(), &target);
          if (!status.ok()) return status;
        } else {
          memory.description.set_epoch(memory.description.epoch() + 1);
          memory.description.set_turn(memory.description.turn() + 1);
          memory.sessions.clear();
          memory.forgotten_turn = memory.description.turn();
        }
        target->description.set_step(snapshot.token().step());
        target->description.set_state_hash(snapshot.token().state_hash());
        v1::RestoreSnapshotResponse last;
        *last.mutable_snapshot() = snapshot;
        last.set_changed(true);
        FillHeader(*target, last.mutable_header());
        if (!lost) writer->Write(last);
        return grpc::Status::OK;
      }
      return ToGrpc({.code = absl::StatusCode::kNotFound, .reason = "SNAPSHOT_NOT_FOUND"});
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
  static void FillToken(const FakeMemory& memory, v1::SnapshotToken* token) {
    token->set_uid(memory.description.uid());
    token->set_epoch(memory.description.epoch());
    token->set_turn(memory.description.turn());
    token->set_step(memory.description.step());
    token->set_state_hash(memory.description.state_hash());
  }

  template <typename Response>
  static void Tell(const char* phase, const v1::Snapshot& snapshot, grpc::ServerWriter<Response>* writer) {
    for (const uint64_t done : {1, 2}) {
      Response message;
      message.mutable_progress()->set_phase(phase);
      message.mutable_progress()->set_done(done);
      message.mutable_progress()->set_total(2);
      writer->Write(message);
    }
    Response last;
    *last.mutable_snapshot() = snapshot;
    writer->Write(last);
  }

  template <typename Response>
  static grpc::Status TellOf(const FakeMemory& memory, const std::string& id, const char* phase,
                             grpc::ServerWriter<Response>* writer) {
    for (const v1::Snapshot& snapshot : memory.snapshots) {
      if (snapshot.id() != id) continue;
      Tell(phase, snapshot, writer);
      return grpc::Status::OK;
    }
    return ToGrpc({.code = absl::StatusCode::kNotFound, .reason = "SNAPSHOT_NOT_FOUND"});
  }

  // The memory of that uid and name, made as a copy if it is not there. Requires: the server's lock is held.
  grpc::Status Copy(const FakeMemory& from, const std::string& name, const std::string& uid,
                    FakeMemory** copy) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto [it, created] = server_->memories_.try_emplace(name);
    *copy = &it->second;
    if (!created && it->second.description.uid() != uid) {
      return ToGrpc({.code = absl::StatusCode::kAlreadyExists, .reason = "MEMORY_EXISTS"});
    }
    if (!created) return grpc::Status::OK;
    it->second.description = from.description;
    it->second.rows = from.rows;
    it->second.description.set_name(name);
    it->second.description.set_uid(uid);
    it->second.description.set_epoch(1);
    it->second.description.set_turn(1);
    return grpc::Status::OK;
  }

  FakeServer* const server_;
};

}  // namespace evoke::client
