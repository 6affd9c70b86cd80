// What systemd (Type=notify) is told of this process: how far loading is, that it serves, reloads, stops, is alive.
//
//   ServiceManager manager(Environment());
//   do manager.Tell(server->ReadReadiness()); while (!WaitForStop(manager.period(), reload));
//   manager.Stopping(drain_timeout);
//
// READY comes when every memory is recovered, so that what is ordered after this unit finds a server that answers; until
// then each Tell asks for more time, however long that takes. Whoever calls Tell shows by it that the process is alive:
// the figures it is called with are read under the locks that all calls need.
//
// Threads: thread-compatible. Failure: what cannot be sent is dropped; a manager that misses it acts by its own rules.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"
#include "server/http/http_server.h"

namespace evoke {

class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET (a path, or '@' and an abstract name), WATCHDOG_USEC and WATCHDOG_PID, which names the process
  // that is watched. Without a socket nothing is ever sent.
  explicit ServiceManager(const std::map<std::string, std::string>& environment);

  // How often Tell wants to be called; infinite without a manager.
  absl::Duration period() const;
  // Sends READY, once, STATUS when it has changed, and the sign of life when one is wanted.
  void Tell(const Readiness& readiness);
  // Around a reload. Nothing before READY, which it would be taken for.
  void Reloading();
  void Reloaded();
  // Stopping takes up to `at_most`; the manager waits and watches for so long.
  void Stopping(absl::Duration at_most);

 private:
  void Send(const std::string& state) const;

  std::string socket_;  // empty: no manager
  absl::Duration watchdog_ = absl::InfiniteDuration();
  bool ready_ = false;
  std::string status_;  // as last sent
};

}  // namespace evoke
