// An export for reading: "evoke-export 1", a .npz (client/README.md, "Export files").
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/export_columns.h"
#include "client/cli/output.h"
#include "evoke/memory.h"
#include "evoke/types.h"

struct zip;
struct zip_file;

namespace evoke::cli {

// Open checks what can be checked without reading the columns; Verify reads them. Thread-compatible.
// Failure: DATA_LOSS / DAMAGED_FILE naming the member; NOT_FOUND when there is no file.
class ExportFile {
 public:
  static absl::StatusOr<std::unique_ptr<ExportFile>> Open(const std::string& path);
  ~ExportFile();

  // Compares every member with its checksum, then the columns with each other.
  absl::Status Verify(const client::Progress& progress);

  const std::string& path() const { return path_; }
  const std::string& memory() const { return memory_; }  // its name
  const client::MemorySpec& spec() const { return spec_; }
  uint64_t step() const { return step_; }
  const std::string& state_hash() const { return state_hash_; }
  const ExportCounts& counts() const { return counts_; }  // payloads only after Verify

  // Items first to first + count - 1 of a column (for keys: of its numbers). Requires: Verify was OK, and T
  // has the size of an item.
  template <typename T>
  absl::StatusOr<std::vector<T>> Read(Column column, uint64_t first, uint64_t count) const {
    std::vector<T> items(count);
    absl::Status status = ReadAt(column, first * sizeof(T), count * sizeof(T), items.data());
    if (!status.ok()) return status;
    return items;
  }

 private:
  struct Member {
    zip_file* file = nullptr;
    uint64_t bytes = 0;
    std::string sha256;
    uint64_t head_bytes = 0;  // of the .npy; after Verify
  };
  ExportFile(std::string path, zip* archive) : path_(std::move(path)), archive_(archive) {}

  absl::Status ReadHeader();
  absl::Status FindMember(Column column, const Json& described);
  absl::Status CheckColumns();
  // All of one column in pieces, each with the last item of the one before.
  absl::Status CheckAscending(Column column, bool strictly, uint64_t limit);
  absl::Status ReadAt(Column column, uint64_t offset, uint64_t size, void* data) const;
  absl::Status Damaged(absl::string_view member, absl::string_view what) const;

  const std::string path_;
  zip* const archive_;
  std::string memory_;
  client::MemorySpec spec_;
  uint64_t step_ = 0;
  std::string state_hash_;
  ExportCounts counts_;
  std::array<Member, kColumnCount> members_;
};

// The spec as the header of an export has it, and back. INVALID_ARGUMENT for a field or name that is not
// known.
Json SpecToExport(const client::MemorySpec& spec);
absl::StatusOr<client::MemorySpec> SpecFromExport(const Json& json);

}  // namespace evoke::cli
