// What evokectl does once its arguments have been understood.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/evokectl.h"
#include "client/cli/output.h"
#include "evoke/client.h"

namespace evoke::cli {

// Every flag of every command; a command reads its own. Durations are texts that absl::ParseDuration takes.
struct Flags {
  std::string address = "127.0.0.1:7380";  // several: separated by commas
  std::string deadline = "30s";
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

 private:
  client::Clock& clock() { return terminal_.clock == nullptr ? real_clock_ : *terminal_.clock; }
  // False: the options were wrong, and that was said.
  bool Connect(client::RetryPolicy retry = {});
  // What cannot be undone is done only when it was said twice. False: it was not, and that was said.
  bool Confirmed(absl::string_view verb);

  void Print(const Json& json) { cli::Print(json, flags_.format, terminal_.out); }
  template <typename T>
  int Show(const absl::StatusOr<T>& result);
  int Usage(absl::string_view message);
  int Fail(const absl::Status& status);

  const Flags& flags_;
  const Terminal& terminal_;
  client::RealClock real_clock_;
  std::unique_ptr<client::Client> client_;
};

}  // namespace evoke::cli
