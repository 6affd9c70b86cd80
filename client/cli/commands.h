// What evokectl does once its arguments have been understood.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/arrays.h"
#include "client/cli/evokectl.h"
#include "client/cli/output.h"
#include "client/cli/progress_bar.h"
#include "evoke/client.h"
#include "evoke/snapshots.h"

namespace evoke::cli {

enum class WhenProgress { kAuto, kAlways, kNever };

// Every flag of every command; a command reads its own. Durations are texts that absl::ParseDuration takes.
struct Flags {
  std::string address = "127.0.0.1:7380";  // several: separated by commas
  std::string deadline;                    // empty: the client's, which are longer for whole memories
  Format format = Format::kTable;
  bool tls = false;  // also without any of the next four
  client::TlsOptions tls_files;
  std::string token_file;
  bool allow_insecure_token = false;

  std::string service;  // of health
  bool wait = false;
  std::string timeout = "60s";

  std::string name;  // of a memory
  client::MemorySpec spec;
  bool if_not_exists = false;
  std::string uid;
  bool yes = false;
  std::string new_name;  // of a fork

  std::string id;  // of a snapshot, or
  std::string token;
  std::string as;  // restore as, import as
  std::optional<std::string> backup;
  std::string to;
  std::string file;  // of an export
  bool without_payloads = false;

  std::string keys;  // of query and update; arrays.h says how they are given
  std::string labels;
  std::string payload_texts;
  std::optional<uint32_t> k;
  std::optional<double> inverse_temperature;
  bool neighbors = false;
  uint32_t batch = 0;  // rows of a request; 0: all
  std::vector<uint64_t> slots;
  std::vector<int64_t> values;
  uint32_t limit = 100;
  std::optional<uint64_t> after;  // a slot
  bool oldest = false;
  bool with_keys = false;
  bool with_payloads = false;

  std::string request_id;  // empty: one a call
  std::string traceparent;
  WhenProgress progress = WhenProgress::kAuto;
};

// One run of one command: connects, asks, prints; each returns the exit code. `flags` and `terminal` must
// outlive it.
class Commands {
 public:
  Commands(const Flags& flags, const Terminal& terminal) : flags_(flags), terminal_(terminal) {}

  int Health();
  int Status();
  int Create();
  int List();
  int Describe();
  int Clear();
  int Delete();
  int Hash();
  // Exit code 1 when it would not fit.
  int Plan();

  int Fork();
  int SnapshotCreate();
  int SnapshotList();
  int SnapshotVerify();
  int SnapshotRestore();
  int SnapshotDelete();
  int SnapshotCopy();
  int Query();
  int Update();
  int Slots();
  int Export();
  int Import();

 private:
  client::Clock& clock() { return terminal_.clock == nullptr ? real_clock_ : *terminal_.clock; }
  // False: the options were wrong, and that was said.
  bool Connect(client::RetryPolicy retry = {});
  // Connects, and opens the memory that was named. False: `exit_code_` says how it ended.
  bool Open();
  ProgressBar::Options BarFor(absl::string_view what);
  // When a command that makes many calls on a whole memory has to be over.
  absl::Time LongDeadline();
  // The keys of query and update. False: they are none, and that was said.
  bool ReadKeys(FloatRows* keys);
  // Of the memory that is open: the slots behind flags_.after, or the oldest of all. `next`: where to go on; null: at the
  // end.
  absl::StatusOr<client::GetSlotsResult> ScanSlots(Json* next);
  bool ReadSnapshotName(client::SnapshotName* name);
  int RestoreInPlace(const client::SnapshotName& name);
  // What cannot be undone is done only when it was said twice. False: it was not, and that was said.
  bool Confirmed(absl::string_view verb);

  void Print(const Json& json) { cli::Print(json, flags_.format, terminal_.out); }
  template <typename T>
  int Show(const absl::StatusOr<T>& result) {
    if (!result.ok()) return Fail(result.status());
    Print(ToJson(*result));
    return kExitOk;
  }
  int Usage(absl::string_view message);
  int Fail(const absl::Status& status);

  const Flags& flags_;
  const Terminal& terminal_;
  client::RealClock real_clock_;
  std::unique_ptr<client::Client> client_;
  std::optional<client::Memory> memory_;
  int exit_code_ = kExitOk;
};

}  // namespace evoke::cli
