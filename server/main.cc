// evoked: flags -> config -> Server -> wait for a signal -> drain.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "server/base/log.h"
#include "server/config/config.h"
#include "server/index/scan_paths.h"
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
  Log(LogLevel::kInfo, "SIGHUP: reading configuration, TLS files and tokens again");
  absl::StatusOr<LoadedConfig> fresh = load();
  if (!fresh.ok()) {
    Log(LogLevel::kError, "reload: the configuration stays as it was", {{LogKey::kDetail, fresh.status().message()}});
    return server->Reload(*active);
  }
  for (const std::string& key : NeedRestart(at_start, *fresh))
    Log(LogLevel::kWarn, "reload: an option has changed, which takes effect at the next start", {{LogKey::kOption, key}});
  *active = fresh->config;
  SetLogLevel(LogLevelNamed(active->log_level));
  server->Reload(*active);
}

int Serve(const LoadedConfig& loaded, const Load& load) {
  StartLogging(LogLevelNamed(loaded.config.log_level),
               loaded.config.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  for (const std::string& warning : loaded.warnings) Log(LogLevel::kWarn, warning);
  if (loaded.config.die_with_parent) DieWithParent();

  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(loaded.config);
  if (!server.ok()) {
    Log(LogLevel::kError, "cannot start", {{LogKey::kDetail, server.status().message()}});
    return ExitCodeOf(server.status());
  }
  // The one line that is a sentence: for whoever starts a server on ports that it chooses itself.
  Log(LogLevel::kInfo,
      absl::StrCat("evoked ", Version(), " (", Commit(), ", ", std::string(Name(ActiveScanPath())), ") serves ",
                   loaded.config.data_dir, " on ", absl::StrJoin((*server)->grpc_addresses(), " "), ", http ",
                   (*server)->http_address().empty() ? "off" : (*server)->http_address(), ", process ", getpid()),
      {{LogKey::kVersion, Version()}});
  NotifyServiceManager("READY=1");

  Config active = loaded.config;
  const std::string signal = WaitForStop(absl::InfiniteDuration(), [&] {
                               Reload(load, loaded, &active, server->get());
                             }).value_or("");
  NotifyServiceManager("STOPPING=1");
  Log(LogLevel::kInfo,
      absl::StrCat(signal, ": stopping, up to ", absl::FormatDuration(loaded.config.drain_timeout),
                   " for what was accepted; again: at once"),
      {{LogKey::kSignal, signal}});
  const absl::Status drained = (*server)->Drain([] { return WaitForStop(absl::ZeroDuration()).has_value(); });
  // What was acknowledged is on disk. The rest is left to the kernel: when work was cut off it cannot be
  // taken down in order, and when not, the HTTP library alone would take two seconds to stop.
  if (drained.ok()) {
    Log(LogLevel::kInfo, "stopped");
  } else {
    Log(LogLevel::kWarn, "stopped, with work cut off", {{LogKey::kDetail, drained.message()}});
  }
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
