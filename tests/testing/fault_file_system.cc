#include "tests/testing/fault_file_system.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

std::string FolderOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool EndsWith(const std::string& path, const std::string& ending) {
  return path.size() >= ending.size() && path.compare(path.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace

// --- the files -----------------------------------------------------------------------------------------------------

class FaultFileSystem::WritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::string path, FaultFileSystem* disk)
      : FSWritableFileOwnerWrapper(std::move(file)), path_(std::move(path)), disk_(disk) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* dbg) override {
    size_t fit = 0;
    const IOStatus refused = disk_->Append(path_, data.size(), &fit);
    const IOStatus written = target()->Append(rocksdb::Slice(data.data(), fit), options, dbg);
    if (written.ok()) disk_->Appended(path_, fit);
    return refused.ok() ? written : refused;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* dbg) override {
    return Append(data, options, dbg);
  }
  // The real disk is not bothered: what is durable is what this class says.
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return disk_->Sync(path_); }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override { return Sync(options, dbg); }

 private:
  const std::string path_;
  FaultFileSystem* const disk_;
};

class FaultFileSystem::RandomAccessFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RandomAccessFile(std::unique_ptr<rocksdb::FSRandomAccessFile>&& file, std::string path, FaultFileSystem* disk)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), path_(std::move(path)), disk_(disk) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions& options, rocksdb::Slice* result, char* scratch,
                IODebugContext* dbg) const override {
    if (disk_->ReadsFail(path_)) return IOStatus::IOError("injected: read of " + path_);
    return target()->Read(offset, n, options, result, scratch, dbg);
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count, const IOOptions& options,
                     IODebugContext* dbg) override {
    if (disk_->ReadsFail(path_)) return IOStatus::IOError("injected: read of " + path_);
    return target()->MultiRead(requests, count, options, dbg);
  }

 private:
  const std::string path_;
  FaultFileSystem* const disk_;
};

class FaultFileSystem::Directory final : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(std::unique_ptr<rocksdb::FSDirectory>&& directory, std::string path, FaultFileSystem* disk)
      : FSDirectoryWrapper(std::move(directory)), path_(std::move(path)), disk_(disk) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    const std::lock_guard lock(disk_->mu_);
    if (IOStatus s = disk_->Powered(); !s.ok()) return s;
    disk_->unsynced_.erase(path_);
    return IOStatus::OK();
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const rocksdb::DirFsyncOptions&) override {
    return Fsync(options, dbg);
  }

 private:
  const std::string path_;
  FaultFileSystem* const disk_;
};

FaultFileSystem::FaultFileSystem(std::string graveyard)
    : FileSystemWrapper(rocksdb::FileSystem::Default()), graveyard_(std::move(graveyard)) {}

IOStatus FaultFileSystem::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                          std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* dbg) {
  const std::lock_guard lock(mu_);
  if (IOStatus s = Powered(); !s.ok()) return s;
  if (free_bytes_ == 0) return IOStatus::NoSpace("injected: create " + path);
  const bool is_new = !std::filesystem::exists(path);
  const IOStatus made = target_->NewWritableFile(path, options, file, dbg);
  if (!made.ok()) return made;
  if (is_new) unsynced_[FolderOf(path)].push_back({.created = path});
  files_[path] = {};
  *file = std::make_unique<WritableFile>(std::move(*file), path, this);
  return made;
}

IOStatus FaultFileSystem::NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                              std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                              IODebugContext* dbg) {
  const IOStatus opened = target_->NewRandomAccessFile(path, options, file, dbg);
  if (opened.ok()) *file = std::make_unique<RandomAccessFile>(std::move(*file), path, this);
  return opened;
}

IOStatus FaultFileSystem::NewDirectory(const std::string& path, const IOOptions& options,
                                       std::unique_ptr<rocksdb::FSDirectory>* directory, IODebugContext* dbg) {
  const IOStatus opened = target_->NewDirectory(path, options, directory, dbg);
  if (opened.ok()) *directory = std::make_unique<Directory>(std::move(*directory), path, this);
  return opened;
}

// --- the folders ---------------------------------------------------------------------------------------------------

void FaultFileSystem::Bury(const std::string& path, Change* change) {
  change->removed = path;
  change->grave = graveyard_ + "/" + std::to_string(graves_++);
  std::error_code error;
  std::filesystem::create_hard_link(path, change->grave, error);
  const auto known = files_.find(path);
  change->synced = known == files_.end() ? std::filesystem::file_size(path, error) : known->second.synced;
}

IOStatus FaultFileSystem::DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* dbg) {
  const std::lock_guard lock(mu_);
  if (IOStatus s = Powered(); !s.ok()) return s;
  Change change;
  Bury(path, &change);
  const IOStatus gone = target_->DeleteFile(path, options, dbg);
  if (!gone.ok()) return gone;
  unsynced_[FolderOf(path)].push_back(std::move(change));
  files_.erase(path);
  return gone;
}

// One change of the folder, as a journal writes it: never the half of a rename.
IOStatus FaultFileSystem::RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                                     IODebugContext* dbg) {
  const std::lock_guard lock(mu_);
  if (IOStatus s = Powered(); !s.ok()) return s;
  Change change{.created = to};
  if (std::filesystem::exists(to)) Bury(to, &change);
  const IOStatus renamed = target_->RenameFile(from, to, options, dbg);
  if (!renamed.ok()) return renamed;
  unsynced_[FolderOf(to)].push_back(std::move(change));
  if (const auto known = files_.extract(from); !known.empty()) files_[to] = known.mapped();
  return renamed;
}

// --- space, syncs, reads -------------------------------------------------------------------------------------------

IOStatus FaultFileSystem::Powered() const {
  return powered_ ? IOStatus::OK() : IOStatus::IOError("injected: no power");
}

IOStatus FaultFileSystem::Append(const std::string& path, size_t bytes, size_t* fit) {
  const std::lock_guard lock(mu_);
  *fit = 0;
  if (IOStatus s = Powered(); !s.ok()) return s;
  *fit = bytes <= free_bytes_ ? bytes : static_cast<size_t>(free_bytes_);
  if (free_bytes_ != kUnlimited) free_bytes_ -= *fit;
  return *fit == bytes ? IOStatus::OK() : IOStatus::NoSpace("injected: write " + path);
}

void FaultFileSystem::Appended(const std::string& path, size_t bytes) {
  const std::lock_guard lock(mu_);
  files_[path].size += bytes;
}

IOStatus FaultFileSystem::Sync(const std::string& path) {
  std::unique_lock lock(mu_);
  ++held_syncs_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !syncs_held_ || !powered_; });
  --held_syncs_;
  if (IOStatus s = Powered(); !s.ok()) return s;
  const auto known = files_.find(path);
  const bool fails = failing_syncs_ > 0;
  if (fails) --failing_syncs_;
  if (known != files_.end()) {
    File& file = known->second;
    if (fails && sync_fault_ == SyncFault::kFailsDataLost) {
      std::filesystem::resize_file(path, file.synced);
      file.size = file.synced;
    } else {
      file.synced = file.size;
    }
  }
  return fails ? IOStatus::IOError("injected: sync of " + path) : IOStatus::OK();
}

void FaultFileSystem::FailSyncs(SyncFault fault, int count) {
  const std::lock_guard lock(mu_);
  sync_fault_ = fault;
  failing_syncs_ = count;
}

void FaultFileSystem::HoldSyncs() {
  const std::lock_guard lock(mu_);
  syncs_held_ = true;
}

void FaultFileSystem::AwaitHeldSync() {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [&] { return held_syncs_ > 0; });
}

void FaultFileSystem::ReleaseSyncs() {
  const std::lock_guard lock(mu_);
  syncs_held_ = false;
  changed_.notify_all();
}

void FaultFileSystem::SetFreeBytes(uint64_t bytes) {
  const std::lock_guard lock(mu_);
  free_bytes_ = bytes;
}

uint64_t FaultFileSystem::free_bytes() const {
  const std::lock_guard lock(mu_);
  return free_bytes_;
}

void FaultFileSystem::FailReads(const std::string& ending) {
  const std::lock_guard lock(mu_);
  failing_reads_ = ending;
}

bool FaultFileSystem::ReadsFail(const std::string& path) const {
  const std::lock_guard lock(mu_);
  return !failing_reads_.empty() && EndsWith(path, failing_reads_);
}

// --- power ---------------------------------------------------------------------------------------------------------

void FaultFileSystem::CutPower() {
  const std::lock_guard lock(mu_);
  powered_ = false;
  changed_.notify_all();
}

void FaultFileSystem::LoseBytes(const std::string& path, const File& file, Loss loss, uint64_t seed) {
  std::error_code gone;
  if (!std::filesystem::exists(path, gone) || file.synced >= file.size) return;
  RandomBits bits(seed);
  const uint64_t kept = loss == Loss::kEverything ? 0 : bits.Below(file.size - file.synced + 1);
  std::filesystem::resize_file(path, file.synced + kept);
  // A log can also have got its length, but not its bytes. Other files are read only after they were synced.
  const uint64_t rest = file.size - file.synced - kept;
  if (loss == Loss::kEverything || rest == 0 || !EndsWith(path, ".log") || bits.Percent(34)) return;
  std::string tail(rest, '\0');
  if (bits.Percent(50)) {
    for (char& byte : tail) byte = static_cast<char>(bits.Next());
  }
  std::ofstream(path, std::ios::binary | std::ios::app) << tail;
}

void FaultFileSystem::RestorePower(Loss loss, uint64_t seed) {
  const std::lock_guard lock(mu_);
  RandomBits bits(seed);
  for (const auto& [path, file] : files_) LoseBytes(path, file, loss, bits.Next());
  for (auto& [folder, changes] : unsynced_) {
    const size_t durable = loss == Loss::kEverything ? 0 : bits.Below(changes.size() + 1);
    for (size_t i = changes.size(); i-- > durable;) {
      const Change& change = changes[i];
      if (!change.created.empty()) std::filesystem::remove(change.created);
      if (change.removed.empty()) continue;
      std::filesystem::resize_file(change.grave, change.synced);
      std::filesystem::rename(change.grave, change.removed);
    }
  }
  // What is there now is what the disk holds.
  files_.clear();
  unsynced_.clear();
  powered_ = true;
}

void FaultFileSystem::FlipBit(const std::string& path, uint64_t byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(byte));
  const char read = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(byte));
  file.put(static_cast<char>(read ^ 0x10));
}

}  // namespace evoke::testing
