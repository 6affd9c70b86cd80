// The catalog file of a data directory: which memories there are, and which folders may be removed.
//
// Order of steps, so that a crash leaves nothing that the catalog does not name, and nothing that is named
// and not there:
//   create  Store(with the entry kRemoved) -> make folder and store -> Store(with the entry kLive)
//   delete  Store(with the entry kRemoved) -> remove the folder     -> Store(without the entry)
//   start   Load -> remove the folders of kRemoved entries -> Store(without them)
// Only what a kRemoved entry names is ever deleted.
//
// Thread-compatible. Failure: after a failed Store the file is the old or the new one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/data_dir.h"
#include "storage/ids.h"

namespace evoke {

struct CatalogEntry {
  // Values are stored: never renumber.
  enum class State : uint8_t {
    kLive = 1,
    kRemoved = 2,  // being made or being deleted: at start its folder is removed, if it is there
  };
  std::string name;  // unique among the kLive entries
  MemoryUid uid;     // unique
  State state = State::kLive;
  std::string spec;  // opaque here
  friend bool operator==(const CatalogEntry&, const CatalogEntry&) = default;
};

class CatalogFile {
 public:
  // `dir` must outlive it.
  explicit CatalogFile(DataDir* dir) : dir_(dir) {}

  // In the order in which they were stored; none in a new directory. DATA_LOSS when the file is damaged, or
  // missing while there are memory folders; FAILED_PRECONDITION when its version is newer, naming both.
  absl::StatusOr<std::vector<CatalogEntry>> Load() const;
  // Durable on return. INVALID_ARGUMENT when a live name or a uid appears twice.
  absl::Status Store(absl::Span<const CatalogEntry> entries);

 private:
  DataDir* const dir_;
};

}  // namespace evoke
