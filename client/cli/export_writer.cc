#include "client/cli/export_writer.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/digest.h"

namespace evoke::cli {
namespace {

constexpr size_t kBlockBytes = 4 << 20;

absl::Status FileError(absl::string_view what, const std::string& path, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, " ", path, ": ", why));
}

// Counts what is read of all columns, twice.
struct Meter {
  const client::Progress& progress;
  uint64_t total = 0;
  uint64_t done = 0;

  void Add(uint64_t bytes) {
    done += bytes;
    if (progress != nullptr) progress("assemble", done, total);
  }
};

// A member as libzip reads it: the head of the .npy, then a raw file. It names no size, so libzip gives the
// member ZIP64 fields, whatever its size.
class ColumnSource {
 public:
  ColumnSource(std::string head, const std::string& path, Meter* meter)
      : head_(std::move(head)), path_(path), meter_(meter) {}
  ~ColumnSource() { Close(); }

  bool Open() {
    Close();
    at_ = 0;
    fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ >= 0 || Failed();
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  // -1: it failed.
  int64_t Read(char* data, uint64_t size) {
    if (at_ < head_.size()) {
      const size_t part = std::min<size_t>(size, head_.size() - at_);
      std::memcpy(data, head_.data() + at_, part);
      at_ += part;
      return static_cast<int64_t>(part);
    }
    const ssize_t got = read(fd_, data, std::min<size_t>(size, kBlockBytes));
    if (got < 0) Failed();
    if (got > 0) meter_->Add(static_cast<uint64_t>(got));
    return got;
  }

  static zip_int64_t Serve(void* self, void* data, zip_uint64_t size, zip_source_cmd_t command) {
    auto* source = static_cast<ColumnSource*>(self);
    switch (command) {
      case ZIP_SOURCE_OPEN:
        return source->Open() ? 0 : -1;
      case ZIP_SOURCE_READ:
        return source->Read(static_cast<char*>(data), size);
      case ZIP_SOURCE_CLOSE:
        source->Close();
        return 0;
      case ZIP_SOURCE_STAT:
        zip_stat_init(static_cast<zip_stat_t*>(data));
        return sizeof(zip_stat_t);
      case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&source->error_, data, size);
      case ZIP_SOURCE_FREE:
        return 0;  // owned by who writes the file
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
      default:
        zip_error_set(&source->error_, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
  }

 private:
  bool Failed() {
    zip_error_set(&error_, ZIP_ER_READ, errno);
    return false;
  }

  const std::string head_;
  const std::string path_;
  Meter* const meter_;
  size_t at_ = 0;  // in the head
  int fd_ = -1;
  zip_error_t error_ = {};
};

absl::Status DigestMember(ColumnSource* source, const std::string& path, Json* member) {
  std::vector<char> block(kBlockBytes);
  Sha256 digest;
  uint64_t size = 0;
  if (!source->Open()) return FileError("read", path, std::strerror(errno));
  for (int64_t got; (got = source->Read(block.data(), block.size())) != 0;
       size += static_cast<uint64_t>(got)) {
    if (got < 0) return FileError("read", path, std::strerror(errno));
    digest.Add({block.data(), static_cast<size_t>(got)});
  }
  source->Close();
  *member = {{"bytes", size}, {"sha256", digest.Hex()}};
  return absl::OkStatus();
}

// Stored, and dated 1980-01-01: equal exports are equal files.
bool AddMember(zip_t* archive, const std::string& name, zip_source_t* source) {
  if (source == nullptr) return false;
  const zip_int64_t index = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return false;
  }
  constexpr zip_uint16_t kFirstOfJanuary1980 = 1 << 5 | 1;
  return zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) == 0 &&
         zip_file_set_dostime(archive, static_cast<zip_uint64_t>(index), 0, kFirstOfJanuary1980, 0) == 0;
}

absl::Status SyncFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  return synced ? absl::OkStatus() : FileError("sync", path, std::strerror(error));
}

}  // namespace

absl::Status WriteExportFile(const std::string& path, Json header, const ExportCounts& counts,
                             const std::array<std::string, kColumnCount>& raw_paths,
                             const client::Progress& progress) {
  Meter meter{.progress = progress};
  std::vector<std::unique_ptr<ColumnSource>> sources;
  header["format"] = kExportFormat;
  header["members"] = Json::object();
  for (size_t c = 0; c < kColumnCount; ++c) {
    const auto column = static_cast<Column>(c);
    meter.total += 2 * counts.Bytes(column);
    sources.push_back(
        std::make_unique<ColumnSource>(NpyHead(column, counts.Shape(column)), raw_paths[c], &meter));
  }
  for (size_t c = 0; c < kColumnCount; ++c) {
    const absl::Status status =
        DigestMember(sources[c].get(), raw_paths[c], &header["members"][kColumns[c].member()]);
    if (!status.ok()) return status;
  }
  const std::string text = header.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";

  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (archive == nullptr) return FileError("write", path, absl::StrCat("zip error ", code));
  bool good = AddMember(archive, kHeaderMember, zip_source_buffer(archive, text.data(), text.size(), 0));
  for (size_t c = 0; good && c < kColumnCount; ++c) {
    good = AddMember(archive, kColumns[c].member(),
                     zip_source_function(archive, &ColumnSource::Serve, sources[c].get()));
  }
  if (good && zip_close(archive) == 0) return SyncFile(path);
  const absl::Status failed = FileError("write", path, zip_strerror(archive));
  zip_discard(archive);
  return failed;
}

}  // namespace evoke::cli
