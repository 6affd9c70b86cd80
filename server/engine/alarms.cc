#include "server/engine/alarms.h"

namespace evoke {

std::string AlarmOf(const MemoryFigures& figures) {
  if (figures.state == MemoryState::kReadOnly) return kDiskAlarm;
  if (figures.state != MemoryState::kFailed) return "";
  return absl::IsUnavailable(figures.why) ? kDiskAlarm : kCorruptAlarm;
}

std::map<std::string, std::string> AlarmsOf(const MemoryFigures& figures) {
  std::map<std::string, std::string> alarms;
  if (const std::string name = AlarmOf(figures); !name.empty()) alarms[name] = std::string(figures.why.message());
  // A memory that failed is not audited any more, and why it failed says more.
  if (!figures.audit.corrupt.empty()) alarms.emplace(kCorruptAlarm, figures.audit.corrupt);
  if (!figures.degraded.empty() && figures.state != MemoryState::kFailed) alarms.emplace(kGpuLostAlarm, figures.degraded);
  return alarms;
}

void Alarms::Update(const std::vector<MemoryFigures>& memories) {
  MutexLock lock(&mu_);
  auto before = std::move(active_);
  active_.clear();
  for (const MemoryFigures& figures : memories) {
    if (figures.state == MemoryState::kLoading) {
      for (const char* name : kAlarmNames) {
        if (auto kept = before.extract({figures.name, name}); !kept.empty()) active_.insert(std::move(kept));
      }
      continue;
    }
    for (const auto& [name, message] : AlarmsOf(figures)) {
      Alarm alarm{.name = name, .memory = figures.name, .message = message, .since = clock_->Now()};
      const auto known = before.extract({figures.name, name});
      if (!known.empty()) alarm.since = known.mapped().since;
      if (known.empty()) on_change_(alarm, true);
      active_[{figures.name, name}] = std::move(alarm);
    }
  }
  for (const auto& [key, alarm] : before) on_change_(alarm, false);
}

std::vector<Alarm> Alarms::Active() const {
  MutexLock lock(&mu_);
  std::vector<Alarm> all;
  for (const auto& [key, alarm] : active_) all.push_back(alarm);
  return all;
}

}  // namespace evoke
