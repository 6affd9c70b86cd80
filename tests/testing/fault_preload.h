// What a test tells a server about its disk and its clock while it runs: both map this block from one file.
//
//   LD_PRELOAD=libevoke_fault_preload.so FAULT_CONTROL=FILE FAULT_FOLDER=DIR evoked --data-dir DIR ...
//
// The shim stands between the program and the C library. It acts on files below FAULT_FOLDER only, and appends to
// FILE.journal what power loss would have to know, one line a change:
//
//   C path        a file was made          S size path   so much of it is durable     U path   it was removed
//   R from\tto    it was renamed           D path        the names in a folder are durable
//
// Syncs are counted and written down, not carried out: what a process wrote survives its death in any case.
#pragma once

#include <atomic>
#include <cstdint>

namespace evoke::testing {

struct FaultControl {
  static constexpr int64_t kUnlimited = -1;
  std::atomic<int64_t> free_bytes{kUnlimited};  // what can still be written, and what statvfs tells
  std::atomic<int64_t> failing_syncs{0};        // so many fail; the data are in the file all the same
  std::atomic<int64_t> syncs_held{0};           // not 0: a sync waits until it is 0 again
  std::atomic<int64_t> waiting_syncs{0};
  std::atomic<int64_t> clock_shift_seconds{0};  // of the wall clock
  std::atomic<int64_t> refused_writes{0};       // counted by the shim, as the next one
  std::atomic<int64_t> failed_syncs{0};
};
static_assert(std::atomic<int64_t>::is_always_lock_free, "two processes share it");

}  // namespace evoke::testing
