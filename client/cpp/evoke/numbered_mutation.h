// One mutation under a session and a number, whoever sends it and however often. Internal.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "evoke/memory.h"
#include "evoke/memory_core.h"

namespace evoke::client {

// New sessions that one call opens because the server forgot the one before. A server that forgets two in a
// row, each opened after a turn just read, is overrun by clients; the caller should hear of it.
inline constexpr int kMaxReopens = 2;

// What blocking and asynchronous mutations share: which number goes on the wire, and what an error means for it.
//
//   auto mutation = NumberedMutation::Begin(core, "Update", options);
//   mutation->Stamp(request.mutable_mutation());   // before every send
//   mutation->Applied();                           // or, on an error:
//   if (mutation->MayReopen(status, unknown)) { ... RefreshTurn, then mutation->Reopen(), and send again }
//   return mutation->Settle(status, unknown);
//
// Thread-compatible. One that is never settled is taken for the worst (SessionPool::Lease).
class NumberedMutation {
 public:
  // A session of the pool, or the one that options.resume names: INVALID_ARGUMENT when it is not held.
  // `core` must outlive it.
  static absl::StatusOr<NumberedMutation> Begin(MemoryCore& core, absl::string_view what,
                                                const CallOptions& options);

  void Stamp(v1::Mutation* mutation) const;
  void Applied() { lease_.Applied(); }

  // Whether the same body may go out under another session: the server forgot this one, and every attempt was
  // refused, so that the number was surely not applied. But not on content that was restored meanwhile, which
  // the caller cannot have meant. True: this session is given up.
  bool MayReopen(const absl::Status& status, bool outcome_unknown);
  // Requires: MayReopen said so, and a turn was read since.
  void Reopen();

  // Gives the session back as the final error demands; returns it with what the caller must know.
  absl::Status Settle(absl::Status status, bool outcome_unknown);

 private:
  NumberedMutation(MemoryCore& core, uint64_t generation, SessionPool::Lease lease, bool resumed)
      : core_(&core), lease_(std::move(lease)), generation_(generation), resumed_(resumed) {}

  MemoryCore* core_;
  SessionPool::Lease lease_;
  uint64_t generation_;  // of the pool before it lent the session
  int reopens_ = 0;
  bool resumed_;  // its outcome was unknown before the first attempt
};

}  // namespace evoke::client
