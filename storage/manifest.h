// What a snapshot says of itself: MANIFEST.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/ids.h"

namespace evoke {

struct SnapshotManifest {
  struct File {
    std::string name;  // relative to the snapshot's folder, "store/000012.sst"
    uint64_t bytes = 0;
    std::string sha256;  // 64 hex digits
    friend bool operator==(const File&, const File&) = default;
  };
  struct PartitionSum {
    uint64_t rows = 0;
    Hash128 hash;  // of its live slots
    friend bool operator==(const PartitionSum&, const PartitionSum&) = default;
  };

  std::string id;      // of the snapshot, and name of its folder
  std::string memory;  // the name of the memory when it was made
  std::string spec;    // its bytes; opaque here
  Hash128 spec_digest;
  MemoryUid uid;
  Epoch epoch;
  Term term{1};
  Turn turn;
  Step step;
  Hash128 chain;
  Hash128 state_hash;
  uint64_t live_count = 0;
  std::vector<PartitionSum> partitions;  // by partition
  absl::Time created;                    // whole milliseconds; for people, nothing depends on it
  bool scheduled = false;
  std::vector<File> files;  // all but MANIFEST.json and DONE; ascending name

  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const File& file : files) sum += file.bytes;
    return sum;
  }
  friend bool operator==(const SnapshotManifest&, const SnapshotManifest&) = default;
};

// "3-1042-20261121T133912.123Z": sorts by itself only within equal digits; order snapshots by epoch and turn.
std::string SnapshotId(Epoch epoch, Turn turn, absl::Time created);
// True for what SnapshotId makes: nothing else may become a path.
bool IsSnapshotId(std::string_view id);

// Deterministic.
std::string EncodeManifest(const SnapshotManifest& manifest);
// DATA_LOSS when it is damaged, or names a file outside the snapshot; FAILED_PRECONDITION for a newer format,
// naming both versions.
absl::StatusOr<SnapshotManifest> DecodeManifest(std::string_view json);

}  // namespace evoke
