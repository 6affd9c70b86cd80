#include "client/cli/commands.h"

#include <algorithm>
#include <istream>
#include <ostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "evoke/error_details.h"
#include "evoke/names.h"

namespace evoke::cli {
namespace {

using client::ServingStatus;

constexpr absl::Duration kHealthPollInterval = absl::Milliseconds(200);
const client::ClientOptions kDefaults;

// Requires: `text` was checked when it was given.
absl::Duration Parsed(const std::string& text, absl::Duration otherwise = absl::ZeroDuration()) {
  absl::Duration duration = otherwise;
  absl::ParseDuration(text, &duration);
  return duration;
}

}  // namespace

int Commands::Health() {
  // A probe wants to hear of an absent server at once; only --wait is patient.
  if (!Connect({.max_attempts = flags_.wait ? 0 : 1})) return kExitUsage;
  const absl::Time end = clock().Now() + Parsed(flags_.timeout);
  absl::StatusOr<ServingStatus> health;
  for (;;) {
    const absl::Duration left = end - clock().Now();
    health = client_->Health(flags_.service, flags_.wait ? std::max(left, absl::Milliseconds(1))
                                                         : Parsed(flags_.deadline, kDefaults.deadline));
    if (!health.ok()) return Fail(health.status());
    if (*health == ServingStatus::kServing || !flags_.wait || left <= kHealthPollInterval) break;
    clock().Sleep(kHealthPollInterval);
  }
  Print({{"service", flags_.service}, {"status", Name(*health)}});
  return *health == ServingStatus::kServing ? kExitOk : kExitFailure;
}

int Commands::Status() {
  if (!Connect()) return kExitUsage;
  return Show(client_->Status());
}

int Commands::Create() {
  if (!Connect()) return kExitUsage;
  const auto created =
      client_->CreateMemory(flags_.name, flags_.spec, {.if_not_exists = flags_.if_not_exists});
  if (!created.ok()) return Fail(created.status());
  Json json = ToJson(created->header);
  json["created"] = created->created;
  json["spec"] = ToJson(created->spec);
  Print(json);
  return kExitOk;
}

int Commands::Plan() {
  if (!Connect()) return kExitUsage;
  const absl::StatusOr<client::MemoryPlan> plan = client_->PlanMemory(flags_.spec);
  if (!plan.ok()) return Fail(plan.status());
  Print(ToJson(*plan));
  return plan->fits ? kExitOk : kExitFailure;
}

int Commands::List() {
  if (!Connect()) return kExitUsage;
  const auto memories = client_->ListMemories();
  if (!memories.ok()) return Fail(memories.status());
  Json json = {{"memories", Json::array()}};
  for (const client::MemoryDescription& memory : *memories) json["memories"].push_back(ToJson(memory));
  Print(json);
  return kExitOk;
}

int Commands::Describe() {
  if (!Connect()) return kExitUsage;
  return Show(client_->DescribeMemory(flags_.name));
}

int Commands::Clear() {
  if (!Confirmed("clear") || !Connect()) return kExitUsage;
  absl::StatusOr<client::Memory> memory = client_->OpenMemory(flags_.name);
  if (!memory.ok()) return Fail(memory.status());
  const absl::StatusOr<client::ClearResult> cleared = memory->Clear();
  if (!cleared.ok()) return Fail(cleared.status());
  Json json = ToJson(cleared->header);
  json["freed_slots"] = cleared->freed_slots;
  Print(json);
  return kExitOk;
}

int Commands::Delete() {
  client::DeleteMemoryOptions options;
  if (!flags_.uid.empty()) {
    const absl::StatusOr<client::Id128> uid = client::Id128::FromHex(flags_.uid);
    if (!uid.ok()) return Usage(uid.status().message());
    options.uid = *uid;
  }
  if (!Confirmed("delete") || !Connect()) return kExitUsage;
  const absl::StatusOr<client::DeleteMemoryResult> result = client_->DeleteMemory(flags_.name, options);
  if (!result.ok()) return Fail(result.status());
  Print({{"memory", flags_.name},
         {"uid", result->uid.empty() ? Json() : Json(result->uid.ToHex())},
         {"deleted", result->deleted}});
  return kExitOk;
}

int Commands::Hash() {
  if (!Connect()) return kExitUsage;
  absl::StatusOr<client::Memory> memory = client_->OpenMemory(flags_.name);
  if (!memory.ok()) return Fail(memory.status());
  const absl::StatusOr<client::StateHashResult> hash = memory->StateHash();
  if (!hash.ok()) return Fail(hash.status());
  Json json = {{"state_hash", hash->state_hash}, {"live_slots", hash->live_slots}};
  json.update(ToJson(hash->header));
  Print(json);
  return kExitOk;
}

bool Commands::Connect(client::RetryPolicy retry) {
  const client::TlsOptions& tls = flags_.tls_files;
  const bool use_tls = flags_.tls || !(tls.root_certificates.empty() && tls.certificate.empty() &&
                                       tls.key.empty() && tls.server_name.empty());
  absl::StatusOr<std::unique_ptr<client::Client>> connected =
      client::Client::Connect({.addresses = absl::StrSplit(flags_.address, ','),
                               .deadline = Parsed(flags_.deadline, kDefaults.deadline),
                               .long_deadline = Parsed(flags_.deadline, kDefaults.long_deadline),
                               .retry = retry,
                               .tls = use_tls ? std::optional(tls) : std::nullopt,
                               .token_file = flags_.token_file,
                               .allow_insecure_token = flags_.allow_insecure_token,
                               .clock = terminal_.clock});
  if (!connected.ok()) {
    Usage(connected.status().message());
    return false;
  }
  client_ = *std::move(connected);
  return true;
}

bool Commands::Open() {
  if (!Connect()) {
    exit_code_ = kExitUsage;
    return false;
  }
  absl::StatusOr<client::Memory> memory = client_->OpenMemory(flags_.name);
  if (!memory.ok()) {
    exit_code_ = Fail(memory.status());
    return false;
  }
  memory_ = *std::move(memory);
  return true;
}

absl::Time Commands::LongDeadline() {
  return clock().Now() + Parsed(flags_.deadline, kDefaults.long_deadline);
}

ProgressBar::Options Commands::BarFor(absl::string_view what) {
  const bool wanted = flags_.progress == WhenProgress::kAlways ||
                      (flags_.progress == WhenProgress::kAuto && terminal_.err_is_terminal);
  return {.out = terminal_.err,
          .clock = clock(),
          .enabled = wanted,
          .terminal = terminal_.err_is_terminal,
          .what = absl::StrCat(what, flags_.name.empty() ? flags_.as : flags_.name)};
}

bool Commands::Confirmed(absl::string_view verb) {
  if (flags_.yes) return true;
  if (!terminal_.interactive) {
    Usage(absl::StrCat("to ", verb, " a memory cannot be undone: give --yes"));
    return false;
  }
  terminal_.err << "To " << verb << " memory \"" << flags_.name
                << "\" cannot be undone. Type its name to go on: " << std::flush;
  std::string typed;
  std::getline(terminal_.in, typed);
  if (typed == flags_.name) return true;
  Usage("that is not its name; nothing was done");
  return false;
}

int Commands::Usage(absl::string_view message) {
  terminal_.err << "evokectl: " << message << '\n';
  return kExitUsage;
}

int Commands::Fail(const absl::Status& status) {
  if (flags_.format == Format::kJson) {
    cli::Print(ToJson(status), Format::kJson, terminal_.err);
    return kExitFailure;
  }
  const client::ErrorDetails details = client::GetErrorDetails(status);
  terminal_.err << "evokectl: " << status.message() << " (" << absl::StatusCodeToString(status.code())
                << (details.reason.empty() ? "" : " / ") << details.reason << ")\n";
  for (const auto& [key, value] : details.metadata) terminal_.err << "  " << key << ": " << value << '\n';
  if (details.outcome_unknown) terminal_.err << "  whether it was done is not known\n";
  return kExitFailure;
}

}  // namespace evoke::cli
