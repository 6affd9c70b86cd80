#include "server/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace evoke {
namespace {

constexpr absl::Duration kWhileLoading = absl::Seconds(1);
constexpr absl::Duration kWhileServing = absl::Seconds(5);  // a STATUS is not older than this
// Asked for with every Tell while loading: the process is given up only when it tells nothing for so long.
constexpr absl::Duration kMoreTime = absl::Seconds(60);

std::string Find(const std::map<std::string, std::string>& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

// One line for `systemctl status`: what is not as it should be, or how many memories there are.
std::string Summary(const Readiness& readiness) {
  std::vector<std::string> wrong;
  size_t memories = 0;
  for (const Readiness::Check& check : readiness.checks) {
    if (check.name.rfind("memory ", 0) == 0) ++memories;
    if (!check.ok) wrong.push_back(absl::StrCat(check.name, ": ", check.state));
  }
  std::string text = readiness.ready ? absl::StrCat("serving, memories: ", memories) : "not ready";
  if (!wrong.empty()) absl::StrAppend(&text, "; ", absl::StrJoin(wrong, "; "));
  return absl::StrReplaceAll(text, {{"\n", " "}});  // a line is a field
}

}  // namespace

ServiceManager::ServiceManager(const std::map<std::string, std::string>& environment)
    : socket_(Find(environment, "NOTIFY_SOCKET")) {
  if (socket_.size() >= sizeof(sockaddr_un::sun_path)) socket_.clear();
  uint64_t watchdog_us = 0;
  const std::string pid = Find(environment, "WATCHDOG_PID");
  if (!socket_.empty() && (pid.empty() || pid == absl::StrCat(getpid())) &&
      absl::SimpleAtoi(Find(environment, "WATCHDOG_USEC"), &watchdog_us) && watchdog_us > 0) {
    watchdog_ = absl::Microseconds(watchdog_us);
  }
}

absl::Duration ServiceManager::period() const {
  if (socket_.empty()) return absl::InfiniteDuration();
  return std::min(ready_ ? kWhileServing : kWhileLoading, watchdog_ / 3);
}

void ServiceManager::Tell(const Readiness& readiness) {
  if (socket_.empty()) return;
  std::vector<std::string> fields;
  if (!ready_ && readiness.ready) {
    ready_ = true;
    fields.push_back("READY=1");
  } else if (!ready_) {
    fields.push_back(absl::StrCat("EXTEND_TIMEOUT_USEC=", absl::ToInt64Microseconds(kMoreTime)));
  }
  if (std::string status = Summary(readiness); status != status_) {
    fields.push_back(absl::StrCat("STATUS=", status));
    status_ = std::move(status);
  }
  if (watchdog_ != absl::InfiniteDuration()) fields.push_back("WATCHDOG=1");
  if (!fields.empty()) Send(absl::StrJoin(fields, "\n"));
}

void ServiceManager::Reloading() {
  if (!ready_) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // Type=notify-reload tells by it which of two reloads has ended
  Send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", absl::ToInt64Microseconds(absl::DurationFromTimespec(now))));
}

void ServiceManager::Reloaded() {
  if (ready_) Send("READY=1");
}

void ServiceManager::Stopping(absl::Duration at_most) {
  if (socket_.empty()) return;
  const int64_t at_most_us = absl::ToInt64Microseconds(at_most);
  std::string state = absl::StrCat("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=", at_most_us);
  // Nobody calls Tell any more: the last sign of life is to last until the end.
  if (watchdog_ != absl::InfiniteDuration()) absl::StrAppend(&state, "\nWATCHDOG_USEC=", at_most_us);
  Send(state);
}

void ServiceManager::Send(const std::string& state) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  // Never waits: a manager that does not read must not stop a server that serves.
  sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&address), size);
  close(fd);
}

}  // namespace evoke
