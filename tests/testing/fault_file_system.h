// A file system that fails when a test says so, under a real RocksDB: what a disk can do to a store.
//
//   auto disk = std::make_shared<FaultFileSystem>(folder);            // an existing, empty folder on the same disk
//   std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
//   RocksDbResources::Create({.env = env.get()})                      // what stores are opened with
//   disk->CutPower(); ... close the store ... disk->RestorePower(Loss::kEverything, seed);
//
// Files are real ones; this object remembers which of their bytes and which names of a folder were synced. It is
// stricter than most disks: without a sync of the folder a new file is gone after power loss, a rename undone and
// a removed file back.
//
// Threads: thread-safe; but RestorePower and FlipBit want no store open. It must outlive the stores.
#pragma once

#include <rocksdb/file_system.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace evoke::testing {

class FaultFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  // `graveyard`: where removed files lie until their removal is durable.
  explicit FaultFileSystem(std::string graveyard);
  const char* Name() const override { return "FaultFileSystem"; }

  // The next `count` syncs of files fail. With kFailsDataLost what they should have made durable is gone at once,
  // as where a kernel drops the pages that it could not write; with kFailsDataKept it is there all the same.
  enum class SyncFault { kFailsDataKept, kFailsDataLost };
  void FailSyncs(SyncFault fault, int count = 1);
  // A sync that begins waits until ReleaseSyncs.
  void HoldSyncs();
  void AwaitHeldSync();
  void ReleaseSyncs();

  // What can still be written; a write beyond it is torn and fails, as every new file does. Nothing frees it but this.
  static constexpr uint64_t kUnlimited = ~uint64_t{0};
  void SetFreeBytes(uint64_t bytes);
  uint64_t free_bytes() const;

  // Reads of files with this ending are input/output errors; empty: of none.
  void FailReads(const std::string& ending);

  // From now on nothing changes on disk; every attempt is an error.
  void CutPower();
  // kEverything: what was not synced is lost. kSome: of each file a random part of that is there, the rest cut off,
  // or in a log also zeros or garbage; of each folder's changes the first few.
  enum class Loss { kEverything, kSome };
  void RestorePower(Loss loss, uint64_t seed);

  static void FlipBit(const std::string& path, uint64_t byte);

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;

 private:
  class WritableFile;
  class RandomAccessFile;
  class Directory;
  struct File {
    uint64_t size = 0;
    uint64_t synced = 0;
  };
  // A change of a folder that is not synced.
  struct Change {
    std::string created;  // a new name; empty: none
    std::string removed;  // a name that went, by a removal or because something was renamed to it or from it
    std::string grave;    // where that lies, and
    uint64_t synced = 0;  // how much of it is durable
  };

  rocksdb::IOStatus Append(const std::string& path, size_t bytes, size_t* fit);
  void Appended(const std::string& path, size_t bytes);
  rocksdb::IOStatus Sync(const std::string& path);
  rocksdb::IOStatus Powered() const;  // mu_ held
  void Bury(const std::string& path, Change* change);
  bool ReadsFail(const std::string& path) const;
  void LoseBytes(const std::string& path, const File& file, Loss loss, uint64_t seed);

  const std::string graveyard_;
  mutable std::mutex mu_;  // guards all below
  std::condition_variable changed_;
  std::map<std::string, File> files_;
  std::map<std::string, std::vector<Change>> unsynced_;  // by folder, in order
  uint64_t graves_ = 0;
  bool powered_ = true;
  SyncFault sync_fault_ = SyncFault::kFailsDataKept;
  int failing_syncs_ = 0;
  bool syncs_held_ = false;
  int held_syncs_ = 0;
  uint64_t free_bytes_ = kUnlimited;
  std::string failing_reads_;
};

}  // namespace evoke::testing
