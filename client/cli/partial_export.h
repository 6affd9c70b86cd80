// An export while it grows: the folder FILE.partial, from which a later call goes on.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/export_columns.h"
#include "client/cli/output.h"
#include "evoke/memory.h"
#include "evoke/transfers.h"

namespace evoke::cli {

// A raw file for each column, and progress.json, which says how much of them counts: what the files have
// beyond it is cut off when the folder is opened (client/README.md, "Export files"; the Python client goes on
// with the same folders). One process at a time: a lock is held.
//
//   auto partial = PartialExport::Open(file);     // perhaps with what an earlier call left
//   partial->Begin(state, payloads);              // the state that the server exports
//   partial->Append(rows);                        // and again; Commit now and then, by itself
//   partial->Finish(progress);                    // the file is there, the folder is gone
//
// Thread-compatible. Failure: UNAVAILABLE naming the file; what was committed stays good.
class PartialExport {
 public:
  // FAILED_PRECONDITION / EXPORT_RUNS when another process has it.
  static absl::StatusOr<std::unique_ptr<PartialExport>> Open(const std::string& path);
  ~PartialExport();

  // Whether a state has been begun; then these name it and how far it came.
  bool begun() const { return !state_.is_null(); }
  std::string uid() const { return state_.at("uid").get<std::string>(); }
  bool with_payloads() const { return state_.at("payloads").get<bool>(); }
  uint64_t turn() const { return state_.at("turn").get<uint64_t>(); }
  uint64_t last_step() const { return state_.at("last_step").get<uint64_t>(); }
  uint64_t rows() const { return counts_.rows; }
  // The header of the file to be, and more.
  const Json& state() const { return state_; }

  // Forgets everything.
  absl::Status Reset();
  // FAILED_PRECONDITION / EXPORT_CHANGED when another state was begun.
  absl::Status Begin(const client::ExportedState& state, bool with_payloads);
  absl::Status Append(const client::SlotRows& rows);
  // What was appended so far survives from here on.
  absl::Status Commit();
  // Makes the file out of the columns, in one move, and removes the folder.
  absl::Status Finish(const client::Progress& progress);

 private:
  explicit PartialExport(const std::string& path) : path_(path), folder_(path + ".partial") {}

  std::string Of(absl::string_view name) const { return folder_ + "/" + std::string(name); }
  std::string RawOf(size_t column) const { return Of(std::string(kColumns[column].name) + ".raw"); }
  absl::Status OpenFiles();
  void Load();
  absl::Status Cut();
  template <typename T>
  absl::Status Write(Column column, const T* items, size_t count);
  void RemoveTemporaries() const;

  const std::string path_, folder_;
  int lock_ = -1;
  std::array<int, kColumnCount> files_ = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  Json state_;           // null: nothing was begun. The header of the file to be, "last_step", and counts_
  ExportCounts counts_;  // of what was appended
  uint64_t uncommitted_bytes_ = 0;
};

}  // namespace evoke::cli
