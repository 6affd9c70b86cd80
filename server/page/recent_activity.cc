#include "server/page/recent_activity.h"

#include <deque>
#include <utility>

namespace evoke {

// Written by the memory's strand, read by whoever looks.
class RecentActivity::Memory {
 public:
  void OnTurn(const TurnReport& report, absl::Time now) {
    absl::Duration took;
    for (const absl::Duration phase : report.phases) took += phase;
    const auto count = [&](Outcome outcome) {
      return static_cast<uint32_t>(report.outcomes[static_cast<int>(outcome)]);
    };
    uint32_t wrote = 0;
    for (const Outcome outcome : {Outcome::kHit, Outcome::kMerged, Outcome::kFolded, Outcome::kFree, Outcome::kEvict,
                                  Outcome::kDropped}) {
      wrote += count(outcome);
    }
    MutexLock lock(&mu_);
    SecondOfTurns& second = seconds_.At(now);
    ++second.turns;
    second.rows_read += report.rows > wrote ? report.rows - wrote : 0;
    second.hits += count(Outcome::kHit) + count(Outcome::kMerged) + count(Outcome::kFolded);
    second.inserts += count(Outcome::kFree);
    second.evictions += count(Outcome::kEvict);
    second.slowest_seconds = std::max(second.slowest_seconds, static_cast<float>(absl::ToDoubleSeconds(took)));
    latencies_.Add(now, took);
    // Of a turn that evicts more than are kept only the last can be seen.
    const size_t first = report.evictions.size() - std::min(report.evictions.size(), kEvictionsKept);
    for (size_t i = first; i < report.evictions.size(); ++i) {
      if (evictions_.size() == kEvictionsKept) evictions_.pop_front();
      evictions_.push_back({report.evictions[i], now});
    }
  }

  TurnHistory Read(absl::Time now) const {
    MutexLock lock(&mu_);
    return {.seconds = seconds_.Before(now),
            .p50_seconds = latencies_.Quantile(now, 0.5),
            .p99_seconds = latencies_.Quantile(now, 0.99),
            .evictions = {evictions_.rbegin(), evictions_.rend()}};
  }

 private:
  mutable Mutex mu_;
  SecondRing<SecondOfTurns> seconds_ ABSL_GUARDED_BY(mu_);
  LatencyWindow latencies_ ABSL_GUARDED_BY(mu_);
  std::deque<RecentEviction> evictions_ ABSL_GUARDED_BY(mu_);
};

class RecentActivity::Probe final : public EngineProbe {
 public:
  Probe(Clock* clock, std::shared_ptr<Memory> memory, std::unique_ptr<EngineProbe> next)
      : clock_(clock), memory_(std::move(memory)), next_(std::move(next)) {}
  void OnTurn(const TurnReport& report) override {
    memory_->OnTurn(report, clock_->Now());
    if (next_ != nullptr) next_->OnTurn(report);
  }
  void OnRejected(std::string_view reason) override {
    if (next_ != nullptr) next_->OnRejected(reason);
  }
  void OnSnapshot(const SnapshotReport& report) override {
    if (next_ != nullptr) next_->OnSnapshot(report);
  }

 private:
  Clock* const clock_;
  const std::shared_ptr<Memory> memory_;
  const std::unique_ptr<EngineProbe> next_;
};

RecentActivity::~RecentActivity() = default;

std::unique_ptr<EngineProbe> RecentActivity::Watch(std::string_view memory, std::unique_ptr<EngineProbe> next) {
  auto watched = std::make_shared<Memory>();
  {
    MutexLock lock(&mu_);
    std::erase_if(memories_, [](const auto& entry) { return entry.second.expired(); });
    // A name that is given again means the new memory, even while the old one is being closed.
    memories_[std::string(memory)] = watched;
  }
  return std::make_unique<Probe>(clock_, std::move(watched), std::move(next));
}

void RecentActivity::OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) {
  const absl::Time now = clock_->Now();
  {
    MutexLock lock(&mu_);
    auto it = calls_.find(method);
    if (it == calls_.end()) it = calls_.try_emplace(std::string(method)).first;
    SecondOfCalls& second = it->second.seconds.At(now);
    ++second.calls;
    second.errors += code != absl::StatusCode::kOk;
    it->second.latencies.Add(now, latency);
  }
  if (next_ != nullptr) next_->OnCall(method, code, latency);
}

void RecentActivity::OnRefused(std::string_view memory, std::string_view reason) {
  if (next_ != nullptr) next_->OnRefused(memory, reason);
}

TurnHistory RecentActivity::TurnsOf(std::string_view memory) const {
  const absl::Time now = clock_->Now();
  std::shared_ptr<Memory> watched;
  {
    MutexLock lock(&mu_);
    if (const auto it = memories_.find(memory); it != memories_.end()) watched = it->second.lock();
  }
  if (watched == nullptr) return {.seconds = std::vector<SecondOfTurns>(SecondRing<SecondOfTurns>::kSeconds)};
  return watched->Read(now);
}

std::vector<CallHistory> RecentActivity::Calls() const {
  const absl::Time now = clock_->Now();
  std::vector<CallHistory> calls;
  MutexLock lock(&mu_);
  for (const auto& [method, of] : calls_) {
    calls.push_back({.method = method,
                     .seconds = of.seconds.Before(now),
                     .p50_seconds = of.latencies.Quantile(now, 0.5),
                     .p99_seconds = of.latencies.Quantile(now, 0.99)});
  }
  return calls;
}

}  // namespace evoke
