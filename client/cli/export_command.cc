// `evokectl export` and `evokectl import`.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/import_file.h"
#include "client/cli/partial_export.h"
#include "evoke/error_details.h"
#include "evoke/transfers.h"

namespace evoke::cli {
namespace {

bool Changed(const absl::Status& status) {
  return client::GetErrorDetails(status).reason == "EXPORT_CHANGED";
}

absl::Status ExportInto(PartialExport& partial, client::Memory& memory, bool payloads, absl::Time deadline,
                        client::Clock& clock, ProgressBar& bar) {
  absl::Status status;
  if (partial.begun() && (partial.uid() != memory.uid().ToHex() || partial.with_payloads() != payloads)) {
    status = partial.Reset();  // of another memory, or with other content
  }
  while (status.ok()) {
    client::ExportRequest request{.without_payloads = !payloads};
    if (partial.begun()) {
      request.after_step = partial.last_step();
      request.required_turn = partial.turn();
    }
    const client::ExportSink sink{
        .begin = [&](const client::ExportedState& state) { return partial.Begin(state, payloads); },
        .rows =
            [&](const client::SlotRows& rows) {
              const absl::Status appended = partial.Append(rows);
              bar.Show("export", partial.rows(), partial.state().at("live_slots").get<uint64_t>());
              return appended;
            }};
    status = memory.Export(request, sink, {.deadline = deadline - clock.Now()});
    // A state that is gone cannot be had any more: from the beginning, as long as there is time.
    if (!Changed(status) || !partial.begun() || clock.Now() >= deadline) break;
    status = partial.Reset();
  }
  if (status.ok()) return partial.Finish(bar.callback());
  const absl::Status kept = partial.Commit();  // the next call goes on from here
  return kept.ok() || !status.ok() ? status : kept;
}

}  // namespace

int Commands::Export() {
  if (!Open()) return exit_code_;
  absl::StatusOr<std::unique_ptr<PartialExport>> partial = PartialExport::Open(flags_.file);
  if (!partial.ok()) return Fail(partial.status());
  Json state;
  {
    ProgressBar bar(BarFor("export of "));
    const absl::Status status =
        ExportInto(**partial, *memory_, !flags_.without_payloads, LongDeadline(), clock(), bar);
    if (!status.ok()) return Fail(status);
    state = (*partial)->state();
  }
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(flags_.file, error);
  const client::SnapshotToken token{.uid = memory_->uid(),
                                    .epoch = state.at("epoch").get<uint64_t>(),
                                    .turn = state.at("turn").get<uint64_t>(),
                                    .step = state.at("step").get<uint64_t>(),
                                    .state_hash = state.at("state_hash").get<std::string>()};
  Print({{"file", flags_.file},
         {"memory", flags_.name},
         {"rows", state.at("live_slots")},
         {"bytes", error ? 0 : bytes},
         {"token", ToJson(token)}});
  return kExitOk;
}

int Commands::Import() {
  if (!Connect()) return kExitUsage;
  const absl::Time deadline = LongDeadline();
  absl::StatusOr<std::unique_ptr<ExportFile>> file = ExportFile::Open(flags_.file);
  if (!file.ok()) return Fail(file.status());
  const std::string name = flags_.as.empty() ? (*file)->memory() : flags_.as;
  absl::StatusOr<client::StateHashResult> imported;
  {
    ProgressBar bar(BarFor(absl::StrCat("import of ", flags_.as.empty() ? name : "")));
    absl::Status status = (*file)->Verify(bar.callback());
    if (!status.ok()) return Fail(status);
    imported = ImportFile(*client_, **file,
                          {.name = name, .deadline = deadline, .clock = clock(), .progress = bar.callback()});
  }
  if (!imported.ok()) return Fail(imported.status());
  Json json = {{"file", flags_.file}, {"rows", (*file)->counts().rows}, {"state_hash", imported->state_hash}};
  json.update(ToJson(imported->header));
  Print(json);
  return kExitOk;
}

}  // namespace evoke::cli
