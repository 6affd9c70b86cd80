// What evokectl does with snapshots, and with copies of memories.
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"

namespace evoke::cli {

int Commands::Fork() {
  if (!Connect()) return kExitUsage;
  const absl::StatusOr<client::ForkResult> forked = client_->ForkMemory(flags_.name, flags_.new_name);
  if (!forked.ok()) return Fail(forked.status());
  Json json = ToJson(forked->header);
  json["origin"] = ToJson(forked->origin);
  Print(json);
  return kExitOk;
}

int Commands::SnapshotCreate() {
  if (!Open()) return exit_code_;
  ProgressBar bar(BarFor("snapshot of "));
  return Show(memory_->CreateSnapshot({.progress = bar.callback()}));
}

int Commands::SnapshotList() {
  absl::StatusOr<std::vector<client::Snapshot>> snapshots;
  if (flags_.name.empty()) {
    if (!flags_.backup.has_value()) return Usage("name a memory, or a folder of backups with --backup");
    if (!Connect()) return kExitUsage;
    snapshots = client_->ListBackups(*flags_.backup);
  } else {
    if (!Open()) return exit_code_;
    snapshots = memory_->ListSnapshots(flags_.backup);
  }
  if (!snapshots.ok()) return Fail(snapshots.status());
  Json json = {{"snapshots", Json::array()}};
  for (const client::Snapshot& snapshot : *snapshots) json["snapshots"].push_back(ToJson(snapshot));
  Print(json);
  return kExitOk;
}

int Commands::SnapshotVerify() {
  client::SnapshotName name;
  if (!ReadSnapshotName(&name)) return kExitUsage;
  ProgressBar bar(BarFor("verify of "));
  if (flags_.name.empty()) {  // its memory may be no more
    if (!flags_.backup.has_value() || flags_.id.empty())
      return Usage("name a memory, or give --backup and --id");
    if (!Connect()) return kExitUsage;
    return Show(client_->VerifyBackup(*flags_.backup, flags_.id, {.progress = bar.callback()}));
  }
  if (!Open()) return exit_code_;
  return Show(memory_->VerifySnapshot(name, {.progress = bar.callback()}));
}

int Commands::SnapshotRestore() {
  client::SnapshotName name;
  if (!ReadSnapshotName(&name)) return kExitUsage;
  if (flags_.as.empty()) return RestoreInPlace(name);
  if (flags_.name.empty() && !flags_.backup.has_value()) {
    return Usage("name the memory that the snapshot is of, or a folder of backups with --backup");
  }
  if (!Connect()) return kExitUsage;
  ProgressBar bar(BarFor("restore of "));
  const absl::StatusOr<client::RestoreAsResult> made =
      client_->RestoreSnapshotAs(flags_.as, name, flags_.name, {.progress = bar.callback()});
  if (!made.ok()) return Fail(made.status());
  Print(ToJson(made->restored));
  return kExitOk;
}

int Commands::RestoreInPlace(const client::SnapshotName& name) {
  if (flags_.name.empty()) return Usage("name the memory that is to be restored, or a new one with --as");
  if (!Confirmed("restore")) return kExitUsage;
  if (!Open()) return exit_code_;
  ProgressBar bar(BarFor("restore of "));
  const absl::StatusOr<client::RestoreResult> restored =
      memory_->RestoreSnapshot(name, {.progress = bar.callback()});
  if (!restored.ok()) return Fail(restored.status());
  Print(ToJson(*restored));
  return kExitOk;
}

int Commands::SnapshotDelete() {
  if (!Confirmed("delete a snapshot of")) return kExitUsage;
  if (!Open()) return exit_code_;
  const absl::StatusOr<bool> deleted = memory_->DeleteSnapshot(flags_.id);
  if (!deleted.ok()) return Fail(deleted.status());
  Print({{"memory", flags_.name}, {"id", flags_.id}, {"deleted", *deleted}});
  return kExitOk;
}

int Commands::SnapshotCopy() {
  if (!Open()) return exit_code_;
  ProgressBar bar(BarFor("copy of "));
  return Show(memory_->CopySnapshot(flags_.id, flags_.to, {.progress = bar.callback()}));
}

bool Commands::ReadSnapshotName(client::SnapshotName* name) {
  if (flags_.id.empty() && flags_.token.empty()) {
    Usage("name the snapshot with --id, or the state that it holds with --token");
    return false;
  }
  name->id = flags_.id;
  name->backup_folder = flags_.backup;
  if (flags_.token.empty()) return true;
  absl::StatusOr<client::SnapshotToken> token = client::SnapshotToken::Parse(flags_.token);
  if (!token.ok()) {
    Usage(token.status().message());
    return false;
  }
  name->token = *std::move(token);
  return true;
}

}  // namespace evoke::cli
