// evoked: flags -> config -> Server -> wait for a signal -> drain.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "server/config/config.h"
#include "server/index/scan_paths.h"
#include "server/logging.h"
#include "server/process.h"
#include "server/server.h"

namespace evoke {
namespace {

std::map<std::string, std::string> Environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (const size_t equals = text.find('='); equals != std::string::npos)
      variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

using Load = std::function<absl::StatusOr<LoadedConfig>()>;

// SIGHUP. `active` is what was last taken over, `at_start` what cannot change without a restart. With a
// configuration that is wrong by now, the files that the active one names are read again all the same.
void Reload(const Load& load, const LoadedConfig& at_start, Config* active, Server* server) {
  spdlog::info("SIGHUP: reading configuration, TLS files and tokens again");
  absl::StatusOr<LoadedConfig> fresh = load();
  if (!fresh.ok()) {
    spdlog::error("reload: the configuration stays as it was: {}", std::string(fresh.status().message()));
    return server->Reload(*active);
  }
  for (const std::string& key : NeedRestart(at_start, *fresh))
    spdlog::warn("reload: {} has changed, which takes effect at the next start", key);
  *active = fresh->config;
  SetLogLevel(active->log_level);
  server->Reload(*active);
}

int Serve(const LoadedConfig& loaded, const Load& load) {
  StartLogging(loaded.config.log_level, loaded.config.log_format);
  for (const std::string& warning : loaded.warnings) spdlog::warn("{}", warning);
  if (loaded.config.die_with_parent) DieWithParent();

  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(loaded.config);
  if (!server.ok()) {
    spdlog::error("cannot start: {}", std::string(server.status().message()));
    return ExitCodeOf(server.status());
  }
  spdlog::info("evoked {} ({}, {}) serves {} on {}, http {}, process {}", Version(), Commit(),
               Name(ActiveScanPath()), loaded.config.data_dir, absl::StrJoin((*server)->grpc_addresses(), " "),
               (*server)->http_address().empty() ? "off" : (*server)->http_address(), getpid());
  NotifyServiceManager("READY=1");

  Config active = loaded.config;
  const std::string signal = WaitForStop(absl::InfiniteDuration(), [&] {
                               Reload(load, loaded, &active, server->get());
                             }).value_or("");
  NotifyServiceManager("STOPPING=1");
  spdlog::info("{}: stopping, up to {} for what was accepted; again: at once", signal,
               absl::FormatDuration(loaded.config.drain_timeout));
  const absl::Status drained = (*server)->Drain([] { return WaitForStop(absl::ZeroDuration()).has_value(); });
  // What was acknowledged is on disk. The rest is left to the kernel: when work was cut off it cannot be
  // taken down in order, and when not, the HTTP library alone would take two seconds to stop.
  if (drained.ok()) {
    spdlog::info("stopped");
  } else {
    spdlog::warn("stopped: {}", std::string(drained.message()));
  }
  spdlog::shutdown();
  std::_Exit(kExitClean);
}

int Main(int argc, char** argv) {
  InstallCrashHandler(argv[0]);
  BlockSignals();
  const Load load = [&] { return LoadConfig({argv + 1, argv + argc}, Environment()); };
  const absl::StatusOr<LoadedConfig> loaded = load();
  if (!loaded.ok()) {
    std::fprintf(stderr, "%s\n(evoked --help names all options)\n",
                 std::string(loaded.status().message()).c_str());
    return kExitUsage;
  }
  switch (loaded->action) {
    case Action::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return kExitClean;
    case Action::kVersion:
      std::printf("evoked %s (%s)\n", Version(), Commit());
      return kExitClean;
    case Action::kPrintConfig:
      std::fputs(loaded->printed.c_str(), stdout);
      return kExitClean;
    case Action::kCheckConfig:
      if (const absl::Status files = CheckFiles(loaded->config); !files.ok()) {
        std::fprintf(stderr, "%s\n", std::string(files.message()).c_str());
        return kExitUsage;
      }
      std::puts("the configuration is right");
      return kExitClean;
    case Action::kServe:
      break;
  }
  return Serve(*loaded, load);
}

}  // namespace
}  // namespace evoke

int main(int argc, char** argv) {
  // Where Abseil is built with checks, a lock would otherwise enter a graph of locks: a thirtieth of a small call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return evoke::Main(argc, argv);
}
