// What an operator should look at: raised and cleared by state alone, never by hand.
//
//   disk      the disk refuses writes of this memory; reads go on if it can be read
//   corrupt   this memory could not be recovered, or damage was found in it, and it serves nothing; or it serves, and
//             the audit found that index or store differ (self_audit.h)
//   gpu_lost  the index does without its device, which is not there, was lost or has no memory left; nothing but speed
//             is lost with it
//
// Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/engine/executor.h"

namespace evoke {

inline constexpr char kDiskAlarm[] = "disk";
inline constexpr char kCorruptAlarm[] = "corrupt";
inline constexpr char kGpuLostAlarm[] = "gpu_lost";
inline constexpr const char* kAlarmNames[] = {kCorruptAlarm, kDiskAlarm, kGpuLostAlarm};

// The alarm that a memory's state is; empty: none.
std::string AlarmOf(const MemoryFigures& figures);
// All alarms of a memory, each once, with what is to be told of it: that of its state, what its audit found, and
// what its index lacks.
std::map<std::string, std::string> AlarmsOf(const MemoryFigures& figures);

struct Alarm {
  std::string name;
  std::string memory;
  std::string message;
  absl::Time since;
};

class Alarms {
 public:
  // `on_change` is told of each alarm when it is raised and when it is cleared, in order; for a log.
  Alarms(Clock* clock, std::function<void(const Alarm&, bool raised)> on_change)
      : clock_(clock), on_change_(std::move(on_change)) {}

  // Where all memories stand now. One that is loading keeps what it had: whether that helps is not known yet.
  void Update(const std::vector<MemoryFigures>& memories);
  // Ascending memory.
  std::vector<Alarm> Active() const;

 private:
  Clock* const clock_;
  const std::function<void(const Alarm&, bool)> on_change_;
  mutable Mutex mu_;
  std::map<std::pair<std::string, std::string>, Alarm> active_ ABSL_GUARDED_BY(mu_);  // by memory and name
};

}  // namespace evoke
