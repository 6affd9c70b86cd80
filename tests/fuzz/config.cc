// Flags, environment and configuration file: whatever they are, LoadConfig answers; and a configuration that it takes
// is the same again when what --print-config shows is read as a file.
//
// Input: parts between zero bytes. The first is the file; of the others those that begin with "EVOKE_" and have a '='
// are variables, the rest are flags.
#include "server/config/config.h"

#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

// A file in RAM, as long as this lives.
class RamFile {
 public:
  explicit RamFile(const std::string& text) : fd_(::memfd_create("config", 0)) {
    EVOKE_CHECK(fd_ >= 0);
    EVOKE_CHECK(::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~RamFile() { ::close(fd_); }
  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }

 private:
  const int fd_;
};

void Run(std::string_view input) {
  std::vector<std::string> parts = absl::StrSplit(std::string(input), '\0');
  const RamFile file(parts.front());
  std::vector<std::string> args;
  std::map<std::string, std::string> environment{{"EVOKE_CONFIG", file.path()}};
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    if (absl::StartsWith(parts[i], "EVOKE_") && equals != std::string::npos) {
      environment.emplace(parts[i].substr(0, equals), parts[i].substr(equals + 1));
    } else if (!absl::StartsWith(parts[i], "--config")) {  // no input names a file of this machine
      args.push_back(parts[i]);
    }
  }
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(args, environment);
  if (!loaded.ok()) {
    EVOKE_CHECK(absl::IsInvalidArgument(loaded.status()));
    EVOKE_CHECK(!loaded.status().message().empty());
    return;
  }
  if (loaded->action == Action::kHelp || loaded->action == Action::kVersion) return;
  EVOKE_CHECK(!loaded->config.listen.empty());
  EVOKE_CHECK(!loaded->config.data_dir.empty());
  const RamFile printed(loaded->printed);
  const absl::StatusOr<LoadedConfig> again = LoadConfig({"--config", printed.path()}, {});
  EVOKE_CHECK(again.ok());
  EVOKE_CHECK(again->values == loaded->values);
  EVOKE_CHECK(NeedRestart(*loaded, *again).empty());
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
