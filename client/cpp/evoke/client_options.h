// How a Client reaches its server and how long it tries.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "evoke/clock.h"
#include "evoke/retry_policy.h"

namespace evoke::client {

struct ClientOptions {
  // "host:port" or "unix:PATH", at least one. Several are ways to the same memories: one is used until it is
  // unavailable, then the next, round and round.
  std::vector<std::string> addresses = {"127.0.0.1:7380"};
  // Of every call that names none, all its attempts and waits together; finite, > 0.
  absl::Duration deadline = absl::Seconds(30);
  RetryPolicy retry;
  std::shared_ptr<Clock> clock;  // null: the machine's. For tests
};

}  // namespace evoke::client
