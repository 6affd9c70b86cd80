// Replays a log up to the first batch that is missing, not only to the first that is damaged.
//
// Power loss may keep a later log and lose the end of the one before it, or the whole of it. RocksDB takes an end
// between two batches for the end of that log, goes on with the next, and leaves a hole in the middle. So:
//
// - inside what is replayed, the sequence number of a batch must be the one before it plus its count;
// - the first batch must follow the state that the table files hold. Every batch says what it follows, in log data that
//   are never stored: the checksum of the meta row that it replaces.
//
// Where it is not so, replay stops, and RocksDB drops the rest as it drops what follows a torn batch.
//
// Internal to rocksdb_*.cc. Thread-compatible. No exception escapes into RocksDB.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "rocksdb/options.h"
#include "rocksdb/wal_filter.h"

namespace rocksdb {
class WriteBatch;
}  // namespace rocksdb

namespace evoke {

// What a batch that replaces this meta row has as log data; of an empty row: what the first batch of all has.
std::string LogLink(std::string_view meta_row);

class WholeLog final : public rocksdb::WalFilter {
 public:
  explicit WholeLog(std::string first_link) : first_link_(std::move(first_link)) {}

  WalProcessingOption LogRecordFound(unsigned long long log, const std::string& file, const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* changed, bool* is_changed) override;
  const char* Name() const override { return "evoke.WholeLog"; }

  // Whether something was left out.
  bool stopped() const { return stopped_; }

 private:
  const std::string first_link_;
  std::optional<uint64_t> next_;  // sequence number
  bool stopped_ = false;
};

// The link of the first batch after what the table files of a database hold, whatever is in its logs: opens it
// read-only, replays nothing and reads one row.
absl::StatusOr<std::string> LinkOfTables(const rocksdb::Options& options, const std::string& path);

}  // namespace evoke
