// What the handles of one memory share. Internal.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "evoke/connection.h"
#include "evoke/id128.h"
#include "evoke/session_pool.h"

namespace evoke::client {

// One a memory uid and client, so that all handles draw from the same sessions. Thread-safe.
struct MemoryCore {
  const std::shared_ptr<Connection> connection;
  const std::string name;
  const Id128 uid;
  const uint32_t key_dim;
  SessionPool sessions = SessionPool();
  std::atomic<uint64_t> turn_seen = 0;  // highest of any reply; stands alone, so relaxed order is enough

  void SawTurn(uint64_t turn) {
    uint64_t seen = turn_seen.load(std::memory_order_relaxed);
    while (seen < turn && !turn_seen.compare_exchange_weak(seen, turn, std::memory_order_relaxed)) {
    }
  }
};

}  // namespace evoke::client
