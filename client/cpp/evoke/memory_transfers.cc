// The calls of a handle that move whole memories: Export and Import.
#include <utility>

#include "evoke/convert.h"
#include "evoke/convert_snapshot.h"
#include "evoke/memory_calls.h"
#include "evoke/transfers.h"
#include "grpcpp/support/sync_stream.h"

namespace evoke::client {
namespace {

// What the attempts of one export have in common.
struct ExportRun {
  const ExportSink& sink;
  v1::ExportRequest request;
  const uint32_t key_dim;
  bool begun = false;
  uint64_t to_come = 0;  // rows, of those that the first attempt promised
  absl::Status refused;  // by the sink, or a reply that makes no sense: final

  // False: it is over, `refused` says why.
  bool Take(const v1::ExportResponse& message) {
    if (message.has_header() && !begun) {
      begun = true;
      to_come = message.rows_to_come();
      request.set_required_turn(message.header().turn());  // from here on only this state will do
      refused = sink.begin({.header = FromProto(message.header()),
                            .spec = FromProto(message.spec()),
                            .state_hash = message.state_hash(),
                            .live_slots = message.live_slots(),
                            .rows_to_come = message.rows_to_come()});
    }
    if (!refused.ok() || !message.has_slots() || message.slots().rows() == 0) return refused.ok();
    const absl::StatusOr<SlotRows> rows = FromProto(message.slots(), key_dim);
    if (!rows.ok() || !begun || rows->rows() > to_come) {
      refused = rows.ok() ? absl::InternalError("Export: rows that were not announced") : rows.status();
      return false;
    }
    refused = sink.rows(*rows);
    to_come -= rows->rows();
    request.set_after_step(rows->written_steps.back());
    return refused.ok();
  }
};

}  // namespace

absl::Status Memory::Export(const ExportRequest& request, const ExportSink& sink,
                            const LongCallOptions& options) {
  const absl::StatusOr<absl::Time> deadline = core_->connection->LongDeadlineAfter(options.deadline);
  if (!deadline.ok()) return deadline.status();
  ExportRun run{.sink = sink, .request = {}, .key_dim = core_->key_dim};
  FillMemoryRef(*core_, {}, run.request.mutable_memory());
  run.request.set_after_step(request.after_step);
  if (request.required_turn.has_value()) run.request.set_required_turn(*request.required_turn);
  run.request.set_chunk_rows(request.chunk_rows);
  run.request.set_without_payloads(request.without_payloads);

  const absl::Status status = core_->connection->Run(
      absl::StrCat("Export of memory \"", core_->name, "\""), *deadline,
      [&](Connection::Stubs& stubs, grpc::ClientContext* context) {
        const std::unique_ptr<grpc::ClientReader<v1::ExportResponse>> reader =
            stubs.memory->Export(context, run.request);
        for (v1::ExportResponse message; reader->Read(&message);) {
          if (run.Take(message)) continue;
          context->TryCancel();
          while (reader->Read(&message)) {
          }
          break;
        }
        const grpc::Status end = reader->Finish();
        if (!run.refused.ok()) return grpc::Status(grpc::StatusCode::ABORTED, "refused");
        if (end.ok() && (!run.begun || run.to_come > 0)) {
          return grpc::Status(grpc::StatusCode::INTERNAL, "the stream ended before its last row");
        }
        return end;
      },
      nullptr, Connection::AttemptTime::kAll);
  return run.refused.ok() ? status : run.refused;
}

absl::StatusOr<ImportResult> Memory::Import(const ImportSlotsRequest& request, const CallOptions& options) {
  v1::ImportRequest proto;
  v1::ImportResponse reply;
  absl::Status status = ToProto(request.rows, core_->key_dim, proto.mutable_exact());
  if (request.step_after.has_value()) proto.set_step_after(*request.step_after);
  if (status.ok()) status = Mutate(*core_, Rpc{"Import", &MemoryStub::Import}, proto, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply);
}

absl::StatusOr<ImportResult> Memory::Import(const ImportRowsRequest& request, const CallOptions& options) {
  v1::ImportRequest proto;
  v1::ImportResponse reply;
  absl::Status status = ToProto(request, proto.mutable_new_rows());
  if (status.ok()) status = Mutate(*core_, Rpc{"Import", &MemoryStub::Import}, proto, options, &reply);
  if (!status.ok()) return status;
  return FromProto(reply);
}

}  // namespace evoke::client
