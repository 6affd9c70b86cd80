// Snapshots of a memory, and the token that ties one to a model checkpoint. Plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "evoke/id128.h"
#include "evoke/memory.h"
#include "evoke/types.h"

namespace evoke::client {

// Names one state of one memory: equal tokens are equal states. A trainer keeps it, as text, beside its
// model; RestoreSnapshot leads back to exactly this state or refuses.
struct SnapshotToken {
  Id128 uid;               // of the memory
  uint64_t epoch = 0;      // which content
  uint64_t turn = 0;       // of the last commit that the state holds
  uint64_t step = 0;       // observations written until then
  std::string state_hash;  // 32 hex digits

  // "evoke1:<uid>:<epoch>:<turn>:<step>:<state hash>".
  std::string ToText() const;
  // INVALID_ARGUMENT / BAD_ARGUMENT unless ToText gives this very text again.
  static absl::StatusOr<SnapshotToken> Parse(absl::string_view text);

  friend bool operator==(const SnapshotToken&, const SnapshotToken&) = default;
};

// A complete copy of a memory in a folder of the server, or of its backups.
struct Snapshot {
  std::string id;      // "<epoch>-<turn>-<UTC time>"
  std::string memory;  // its name when the snapshot was made
  SnapshotToken token;
  MemorySpec spec;
  uint64_t live_slots = 0;
  uint64_t bytes = 0;  // of its files
  uint32_t files = 0;
  int64_t created_unix_ms = 0;  // by the server's wall clock
  bool scheduled = false;       // made by the schedule; only those does its retention remove
};

// One snapshot: by id, by the state it holds, or by both, which then must agree (TOKEN_MISMATCH).
struct SnapshotName {
  std::string id;
  std::optional<SnapshotToken> token;
  // A folder below the server's backup-dir ("" is that itself); absent: among the memory's own.
  std::optional<std::string> backup_folder;
};

struct RestoreResult {
  ReplyHeader header;   // of the memory now
  Snapshot snapshot;    // what was restored
  bool changed = true;  // false: the memory was in exactly that state already
};

struct ForkResult {
  Memory memory;
  ReplyHeader header;    // of the copy
  SnapshotToken origin;  // the state that was copied
};

struct RestoreAsResult {
  Memory memory;
  RestoreResult restored;
};

}  // namespace evoke::client
