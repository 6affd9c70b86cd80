#include "client/load/evoke_load.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/load/campaign.h"
#include "client/load/clock.h"
#include "client/load/flags.h"
#include "client/load/progress.h"
#include "client/load/report.h"
#include "client/load/report_text.h"
#include "evoke/client.h"
#include "evoke/error_details.h"

namespace evoke::load {
namespace {

class NoProgress final : public MeasurementObserver {
 public:
  void OnTick(const Measurements&, absl::Duration, const Driver::State&) override {}
  void OnWindow(int, const WindowSummary&, const Measurements&, const Driver::State&) override {}
};

// One run, once its arguments have been understood.
class Run {
 public:
  Run(const CommandLine& line, const Terminal& terminal)
      : options_(line.options),
        terminal_(terminal),
        quiet_(line.progress == WhenProgress::kNever),
        progress_({.out = terminal.err,
                   .terminal = line.progress == WhenProgress::kAlways || terminal.err_is_terminal}) {}

  int Execute() {
    auto client = client::Client::Connect(options_.client);
    if (!client.ok()) return Fail(client.status(), kExitUsage);
    client_ = *std::move(client);
    const absl::StatusOr<client::ServerStatus> server = client_->Status();
    if (!server.ok()) return Fail(server.status());

    report_ = {{"format", kReportFormat},
               {"client_version", EVOKE_VERSION},
               {"started", absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())},
               {"exit_code", 0},
               {"machine", ToJson(ThisMachine())},
               {"server", ToJson(*server)}};
    int exit_code = OneCampaign(options_, /*fresh=*/options_.verify);
    if (options_.verify && exit_code == kExitOk && !Interrupted()) exit_code = Again();
    if (!report_.contains("run") && !report_.contains("search")) return exit_code;
    CountRestarts(server->instance);
    report_["exit_code"] = exit_code;
    return Publish(exit_code);
  }

 private:
  bool Interrupted() const { return terminal_.interrupted.load(std::memory_order_relaxed); }

  Campaign::Environment Environment() {
    return {.client = *client_,
            .clock = clock_,
            .interrupted = terminal_.interrupted,
            .observer = quiet_ ? static_cast<MeasurementObserver&>(no_progress_) : progress_,
            .note = [this](const std::string& text) {
              if (!quiet_) progress_.Note(text);
            }};
  }

  // Adds to the report what it finds.
  int OneCampaign(const Options& options, bool fresh) {
    auto campaign = Campaign::Prepare(options, fresh, Environment());
    if (!campaign.ok()) {
      return Fail(campaign.status(), absl::IsInvalidArgument(campaign.status()) ? kExitUsage : kExitFailure);
    }
    report_["memory"] = ToJson((*campaign)->memory());
    report_["options"] = ToJson(options, (*campaign)->rows());
    if (options.search.has_value()) {
      std::vector<Probe> probes;
      const RateSearch search = (*campaign)->Search(&probes);
      report_["search"] = ToJson(search, probes, *options.search);
      const auto best = std::find_if(probes.begin(), probes.end(), [&](const Probe& probe) {
        return search.best().has_value() && probe.run.rate == search.best();
      });
      if (best != probes.end()) report_["run"] = ToJson(best->run);
    } else {
      report_["run"] = ToJson((*campaign)->Measure());
    }
    const CampaignEnd end = (*campaign)->Finish();
    report_.update(ToJson(end));
    const int exit_code = end.verdict.kept() ? kExitFailure : kExitViolation;
    for (const absl::Status& status : {end.replay, end.state.status()}) {
      if (!status.ok()) return Fail(status, exit_code);  // the server is gone; what was measured stays
    }
    return end.verdict.kept() && end.verdict.unresolved_mutations == 0 ? kExitOk : exit_code;
  }

  // The second pass of --verify: the same calls on another memory.
  int Again() {
    Options options = options_;
    options.memory.name += "-again";
    Json first = std::exchange(report_, Json::object());
    const int exit_code = OneCampaign(options, /*fresh=*/true);
    const Json second = std::exchange(report_, std::move(first));
    if (!second.contains("state")) return exit_code;
    const bool equal = second["state"]["state_hash"] == report_["state"]["state_hash"] &&
                       second["state"]["step"] == report_["state"]["step"];
    report_["verify"] = {
        {"equal", equal}, {"state_hash", second["state"]["state_hash"]}, {"step", second["state"]["step"]}};
    const auto deleted = client_->DeleteMemory(options.memory.name);
    if (!deleted.ok()) return Fail(deleted.status());
    return equal ? exit_code : kExitViolation;
  }

  // A server that was restarted in mid-run explains errors, and figures that are missing.
  void CountRestarts(const client::Id128& instance) {
    const absl::StatusOr<client::ServerStatus> now = client_->Status();
    if (now.ok()) report_["server"]["restarted"] = now->instance != instance;
  }

  int Publish(int exit_code) {
    if (options_.json_file == "-") {
      terminal_.out << report_.dump(2) << '\n' << std::flush;
      return exit_code;
    }
    terminal_.out << ReportText(report_) << std::flush;
    if (options_.json_file.empty()) return exit_code;
    std::ofstream file(options_.json_file);
    file << report_.dump(2) << '\n' << std::flush;
    if (file.good()) return exit_code;
    terminal_.err << "evoke-load: cannot write " << options_.json_file << '\n';
    return exit_code == kExitOk ? kExitFailure : exit_code;
  }

  int Fail(const absl::Status& status, int exit_code = kExitFailure) {
    progress_.EndLine();
    if (options_.json_file == "-") {
      terminal_.err << Json{{"error", ToJson(status)}}.dump() << '\n';
    } else {
      const std::string reason = client::GetErrorDetails(status).reason;
      terminal_.err << "evoke-load: " << absl::StatusCodeToString(status.code())
                    << (reason.empty() ? "" : "/") << reason << ": " << status.message() << '\n';
    }
    return exit_code;
  }

  const Options& options_;
  const Terminal& terminal_;
  const bool quiet_;
  SteadyClock clock_;
  Progress progress_;
  NoProgress no_progress_;
  std::unique_ptr<client::Client> client_;
  Json report_;
};

}  // namespace

int RunEvokeLoad(const std::vector<std::string>& args, const Terminal& terminal) {
  const CommandLine line = ParseCommandLine(args);
  if (!line.run) {
    (line.exit_code == kExitOk ? terminal.out : terminal.err) << line.message << std::flush;
    return line.exit_code;
  }
  return Run(line, terminal).Execute();
}

}  // namespace evoke::load
