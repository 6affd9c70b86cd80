// The streams that take mutations and may stand idle for ever: a drain tells them to come to an end.
//
// Thread-safe. Failure: none. Cost: a lock for each stream that begins or ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "server/base/mutex.h"

namespace evoke {

class OpenStreams {
 public:
  // `drain` may still be called a moment after Remove: what it needs it must hold itself.
  uint64_t Add(std::function<void()> drain) {
    MutexLock lock(&mu_);
    streams_.emplace(++last_, std::move(drain));
    return last_;
  }
  void Remove(uint64_t stream) {
    MutexLock lock(&mu_);
    streams_.erase(stream);
  }
  // Tells all that there are. Those that come later see ServiceContext::draining.
  void Drain() {
    std::vector<std::function<void()>> told;
    {
      MutexLock lock(&mu_);
      for (const auto& [id, drain] : streams_) told.push_back(drain);
    }
    for (const auto& drain : told) drain();
  }

 private:
  Mutex mu_;
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, std::function<void()>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
