#include "storage/rocksdb_whole_log.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"
#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "storage/rocksdb_status.h"

namespace evoke {
namespace {

uint64_t SequenceOf(const rocksdb::WriteBatch& batch) { return ByteReader(batch.Data()).Take<uint64_t>(); }

// Finds the log data and looks no further.
class LinkFinder final : public rocksdb::WriteBatch::Handler {
 public:
  void LogData(const rocksdb::Slice& blob) override { link_ = blob.ToString(); }
  rocksdb::Status DeleteRangeCF(uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override { return {}; }
  bool Continue() override { return !link_; }

  const std::optional<std::string>& link() const { return link_; }

 private:
  std::optional<std::string> link_;
};

class EmptyLog final : public rocksdb::WalFilter {
 public:
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&, const rocksdb::WriteBatch&,
                                     rocksdb::WriteBatch*, bool*) override {
    return WalProcessingOption::kStopReplay;
  }
  const char* Name() const override { return "evoke.EmptyLog"; }
};

}  // namespace

std::string LogLink(std::string_view meta_row) {
  return std::string(meta_row.substr(meta_row.size() - std::min(meta_row.size(), sizeof(uint64_t))));
}

rocksdb::WalFilter::WalProcessingOption WholeLog::LogRecordFound(unsigned long long, const std::string&,
                                                                 const rocksdb::WriteBatch& batch, rocksdb::WriteBatch*,
                                                                 bool*) {
  const uint64_t sequence = SequenceOf(batch);
  if (next_) {
    stopped_ = sequence != *next_;
  } else {
    LinkFinder found;
    // A batch without a link is from a server that wrote none: what it follows cannot be told.
    stopped_ = batch.Iterate(&found).ok() && found.link() && *found.link() != first_link_;
  }
  next_ = sequence + batch.Count();
  return stopped_ ? WalProcessingOption::kStopReplay : WalProcessingOption::kContinueProcessing;
}

absl::StatusOr<std::string> LinkOfTables(const rocksdb::Options& options, const std::string& path) {
  EmptyLog no_log;
  rocksdb::Options only_tables = options;
  only_tables.wal_filter = &no_log;
  only_tables.create_if_missing = false;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status s = rocksdb::DB::OpenForReadOnly(only_tables, path, &opened);
  const std::unique_ptr<rocksdb::DB> db(opened);
  if (!s.ok()) return FromRocksDb(absl::StrCat("open ", path), s);
  std::string meta_row;
  const rocksdb::Status got = db->Get({}, KeyLayout::Meta(), &meta_row);
  if (!got.ok() && !got.IsNotFound()) return FromRocksDb("meta row", got);
  return LogLink(meta_row);
}

}  // namespace evoke
