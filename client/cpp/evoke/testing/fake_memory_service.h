// The calls of FakeServer that read, train and move memories. Internal.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "evoke/testing/fake_server_calls.h"

namespace evoke::client {

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
    return Train("TrainStep", *request, reply);
  }

  // A fault is of one request: it ends the stream. Late copies are served when a later stream has been
  // answered once.
  grpc::Status TrainStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::TrainStepResponse, v1::TrainStepRequest>* stream) override {
    v1::TrainStepRequest request;
    while (stream->Read(&request)) {
      v1::TrainStepResponse reply;
      const grpc::Status status = Train("TrainStream", request, &reply);
      std::vector<v1::TrainStepRequest> late;
      {
        absl::MutexLock lock(&server_->mu_);
        if (status.ok()) late.swap(server_->late_);
        for (; !status.ok() && server_->late_to_keep_ > 0 && stream->Read(&request);
             --server_->late_to_keep_) {
          server_->late_.push_back(request);
        }
      }
      if (!status.ok()) return status;
      for (const v1::TrainStepRequest& copy : late) {
        v1::TrainStepResponse ignored;
        Train("late", copy, &ignored);
      }
      stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetSlots(grpc::ServerContext*, const v1::GetSlotsRequest* request,
                        v1::GetSlotsResponse* reply) override {
    return server_->Serve("GetSlots", *request, reply, [&](FakeMemory& memory) {
      for (const uint64_t slot : request->slots()) {
        const auto row = std::find_if(memory.rows.begin(), memory.rows.end(),
                                      [&](const FakeSlot& held) { return held.slot == slot; });
        v1::Slot* told = reply->add_slots();
        told->set_slot(slot);
        if (row == memory.rows.end()) continue;
        told->set_value(row->value);
        told->set_written_step(row->written_step);
        told->set_hits(row->hits);
        told->set_key(row->key);
      }
      for (const int64_t value : request->values()) reply->add_values()->set_value(value);
    });
  }

  // Exact rows are kept as they are; new ones take the slots with their steps' numbers.
  grpc::Status Import(grpc::ServerContext*, const v1::ImportRequest* request,
                      v1::ImportResponse* reply) override {
    return server_->Serve("Import", *request, reply, [&](FakeMemory& memory) {
      v1::MemoryDescription& now = memory.description;
      const v1::SlotRows& rows = request->exact();
      const auto* slots = reinterpret_cast<const uint64_t*>(rows.slots().data());
      const auto* values = reinterpret_cast<const int64_t*>(rows.values().data());
      const auto* steps = reinterpret_cast<const uint64_t*>(rows.written_steps().data());
      const auto* hits = reinterpret_cast<const uint32_t*>(rows.hits().data());
      const size_t key_bytes = now.spec().key_dim() * sizeof(float);
      for (uint32_t i = 0; i < rows.rows(); ++i) {
        memory.rows.push_back(
            {slots[i], values[i], steps[i], hits[i], rows.keys().substr(i * key_bytes, key_bytes), {}});
        now.set_step(steps[i]);
      }
      for (const v1::PlacedPayload& payload : rows.payloads()) {
        memory.rows[memory.rows.size() - rows.rows() + payload.row()].payloads.push_back(payload);
      }
      if (request->has_new_rows()) now.set_step(now.step() + request->new_rows().embeddings().rows());
      if (request->has_step_after()) now.set_step(request->step_after());
      now.set_live_slots(memory.rows.size());
      now.set_state_hash(HashOf(memory));
      reply->set_slots(rows.slots());
      reply->set_live_slots(now.live_slots());
      reply->set_state_hash(now.state_hash());
    });
  }

  // Two rows a message. With a fault to be applied the stream breaks off after the first of them.
  grpc::Status Export(grpc::ServerContext*, const v1::ExportRequest* request,
                      grpc::ServerWriter<v1::ExportResponse>* writer) override {
    return server_->ServeStream("Export", *request, [&](FakeMemory& memory, bool lost) {
      const v1::MemoryDescription& now = memory.description;
      if (request->has_required_turn() && request->required_turn() != now.turn()) {
        return ToGrpc({.code = absl::StatusCode::kFailedPrecondition, .reason = "EXPORT_CHANGED"});
      }
      std::vector<const FakeSlot*> rows;
      for (const FakeSlot& row : memory.rows) {
        if (row.written_step > request->after_step()) rows.push_back(&row);
      }
      v1::ExportResponse message;
      FillHeader(memory, message.mutable_header());
      *message.mutable_spec() = now.spec();
      message.set_state_hash(now.state_hash());
      message.set_live_slots(memory.rows.size());
      message.set_rows_to_come(rows.size());
      writer->Write(message);
      for (size_t i = 0; i < rows.size(); i += 2) {
        message.Clear();
        for (size_t j = i; j < std::min(i + 2, rows.size()); ++j) AddRow(*rows[j], message.mutable_slots());
        writer->Write(message);
        if (lost) break;
      }
      return grpc::Status::OK;
    });
  }

 private:
  // Of what the rows are, so that an import can be compared with its export.
  static std::string HashOf(const FakeMemory& memory) {
    uint64_t hash = 0;
    for (const FakeSlot& row : memory.rows) {
      hash += std::hash<std::string>()(
                  absl::StrCat(row.slot, "/", row.value, "/", row.written_step, "/", row.hits)) ^
              std::hash<std::string>()(row.key);
    }
    return absl::StrCat(std::string(16, '0'), absl::Hex(hash, absl::kZeroPad16));
  }

  static void AddRow(const FakeSlot& row, v1::SlotRows* rows) {
    const auto append = [](const auto& number, std::string* column) {
      column->append(reinterpret_cast<const char*>(&number), sizeof number);
    };
    append(row.slot, rows->mutable_slots());
    append(row.value, rows->mutable_values());
    append(row.written_step, rows->mutable_written_steps());
    append(row.hits, rows->mutable_hits());
    rows->mutable_keys()->append(row.key);
    for (v1::PlacedPayload payload : row.payloads) {
      payload.set_row(rows->rows());
      *rows->add_payloads() = payload;
    }
    rows->set_rows(rows->rows() + 1);
  }

  grpc::Status Train(const char* method, const v1::TrainStepRequest& request, v1::TrainStepResponse* reply) {
    return server_->Serve(method, request, reply, [&](FakeMemory& memory) {
      const size_t rows = request.embeddings().rows();
      Observe(request, memory, reply);
      reply->set_answered(Zeros((rows + 7) / 8));
      reply->set_values(request.values());
      reply->set_confidences(Zeros(rows * 4));
      reply->set_losses(Zeros(rows * 4));
      reply->set_positive_found(Zeros((rows + 7) / 8));
      reply->set_negative_found(Zeros((rows + 7) / 8));
      if (request.form() == v1::RETURN_FORM_GRADIENT)
        reply->set_gradients(Zeros(request.embeddings().data().size()));
    });
  }

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

}  // namespace evoke::client
