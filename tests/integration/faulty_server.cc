#include "tests/integration/faulty_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <new>
#include <set>
#include <sstream>

namespace evoke::testing {
namespace {

// What the journal says is durable: of which file how much, and which names are not.
struct Durable {
  std::map<std::string, uint64_t> bytes;
  std::set<std::string> unsynced_names;
};

Durable ReadJournal(const std::string& path) {
  Durable durable;
  std::istringstream lines(ReadWholeFile(path));
  for (std::string line; std::getline(lines, line);) {
    const std::string rest = line.substr(2);
    switch (line[0]) {
      case 'C':
        durable.bytes[rest] = 0;
        durable.unsynced_names.insert(rest);
        break;
      case 'S':
        durable.bytes[rest.substr(rest.find(' ') + 1)] = std::stoull(rest);
        break;
      case 'D':
        std::erase_if(durable.unsynced_names, [&](const std::string& name) {
          return std::filesystem::path(name).parent_path() == rest;
        });
        break;
      case 'U':
        durable.bytes.erase(rest);
        durable.unsynced_names.erase(rest);
        break;
      case 'R': {
        const std::string from = rest.substr(0, rest.find('\t')), to = rest.substr(rest.find('\t') + 1);
        durable.unsynced_names.erase(from);
        if (auto file = durable.bytes.extract(from); !file.empty()) durable.bytes[to] = file.mapped();
        break;
      }
    }
  }
  return durable;
}

}  // namespace

FaultyServer::FaultyServer(std::vector<std::string> flags) : ServerProcess(std::move(flags)) {
  const std::string file = folder_.File("control");
  WriteWholeFile(file, std::string(sizeof(FaultControl), '\0'));
  const int fd = open(file.c_str(), O_RDWR | O_CLOEXEC);
  void* mapped = mmap(nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) std::abort();
  control_ = new (mapped) FaultControl;
  SetEnvironment({{"LD_PRELOAD", EVOKE_FAULT_PRELOAD_PATH},
                  {"FAULT_CONTROL", file},
                  {"FAULT_FOLDER", data_dir()},
                  // The shim comes before the sanitizer's library, and does not mind.
                  {"ASAN_OPTIONS", "verify_asan_link_order=0"}});
}

FaultyServer::~FaultyServer() {
  control_->syncs_held = 0;
  munmap(control_, sizeof(FaultControl));
}

void FaultyServer::LosePower() {
  Kill();
  const std::string journal = folder_.File("control.journal");
  const Durable durable = ReadJournal(journal);
  for (const auto& [path, bytes] : durable.bytes) {
    if (!std::filesystem::exists(path)) continue;
    if (durable.unsynced_names.count(path) > 0) {
      std::filesystem::remove(path);
    } else if (std::filesystem::file_size(path) > bytes) {
      std::filesystem::resize_file(path, bytes);
    }
  }
}

std::string FaultyServer::Metric(const std::string& beginning) const {
  std::istringstream lines(HttpGet(http_port(), "/metrics"));
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, beginning.size(), beginning) == 0) found += line + "\n";
  }
  return found;
}

}  // namespace evoke::testing
