#include "storage/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/file_util.h"
#include "storage/sha256.h"

namespace evoke {
namespace fs = std::filesystem;
namespace {

constexpr char kManifest[] = "MANIFEST.json";
constexpr char kDone[] = "DONE";
constexpr char kStore[] = "store/";

// Adds up pieces, and says so.
class Meter {
 public:
  Meter(FileProgress progress, uint64_t total) : progress_(std::move(progress)), total_(total) {}
  absl::Status Add(uint64_t bytes) {
    done_ += bytes;
    return progress_ == nullptr || progress_(done_, total_) ? absl::OkStatus()
                                                            : absl::CancelledError("given up by the caller");
  }

 private:
  const FileProgress progress_;
  const uint64_t total_;
  uint64_t done_ = 0;
};

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

// Regular files below `folder`, relative, ascending.
absl::StatusOr<std::vector<std::string>> FilesBelow(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_directory()) names.push_back(fs::relative(it->path(), folder).generic_string());
  }
  if (error) return FileError("list", folder, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status SyncTree(const std::string& folder) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_directory()) continue;
    if (absl::Status s = SyncDirectory(it->path().string()); !s.ok()) return s;
  }
  return error ? FileError("list", folder, error.value()) : SyncDirectory(folder);
}

absl::Status Complete(const std::string& folder, const std::string& manifest_json) {
  return WriteFileAtomically(absl::StrCat(folder, "/", kDone), absl::StrCat(folder, "/", kDone, ".tmp"),
                             absl::StrCat(Sha256(manifest_json), "\n"));
}

// Checks one file against what the manifest says, reading all of it.
absl::Status CheckFile(const std::string& path, const SnapshotManifest::File& file, Meter* meter) {
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) return Damaged(path, "is missing");
  if (bytes != file.bytes)
    return Damaged(path, absl::StrCat("has ", bytes, " bytes, the manifest says ", file.bytes));
  const absl::StatusOr<std::string> sum =
      Sha256OfFile(path, [&](std::string_view piece) { return meter->Add(piece.size()); });
  if (!sum.ok()) return sum.status();
  if (*sum != file.sha256) return Damaged(path, "its checksum is not what the manifest says");
  return absl::OkStatus();
}

// From `offset` on, appending to `to`, which has exactly that many bytes.
absl::Status AppendFrom(const std::string& from, const std::string& to, uint64_t offset, Meter* meter) {
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (out < 0) return FileError("create", to, errno);
  uint64_t position = 0;
  // The part that is there is read too: the checksum at the end is over the whole source.
  const absl::StatusOr<std::string> read = Sha256OfFile(from, [&](std::string_view piece) -> absl::Status {
    const uint64_t begin = position;
    position += piece.size();
    if (position > offset) {
      piece.remove_prefix(begin < offset ? offset - begin : 0);
      for (std::string_view rest = piece; !rest.empty();) {
        const ssize_t written = ::write(out, rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return FileError("write", to, errno);
        rest.remove_prefix(static_cast<size_t>(written));
      }
    }
    return meter->Add(position - begin);
  });
  absl::Status status = read.status();
  if (status.ok() && ::fsync(out) != 0) status = FileError("fsync", to, errno);
  ::close(out);
  return status;
}

absl::Status CopyFile(const std::string& from, const std::string& to, const SnapshotManifest::File& file,
                      Meter* meter) {
  std::error_code error;
  uint64_t there = fs::file_size(to, error);
  if (error) there = 0;
  Meter silent(nullptr, 0);
  if (there == file.bytes && CheckFile(to, file, &silent).ok()) return meter->Add(file.bytes);
  if (there >= file.bytes) {  // another file, or damaged: from the start
    fs::remove(to, error);
    there = 0;
  }
  if (absl::Status s = AppendFrom(from, to, there, meter); !s.ok()) return s;
  absl::Status checked = CheckFile(to, file, &silent);
  if (checked.ok() || there == 0) return checked;
  fs::remove(to, error);  // what was left there was not a beginning of it
  if (absl::Status s = AppendFrom(from, to, 0, &silent); !s.ok()) return s;
  return CheckFile(to, file, &silent);
}

}  // namespace

absl::Status HashFiles(const std::string& folder, const FileProgress& progress, SnapshotManifest* manifest) {
  absl::StatusOr<std::vector<std::string>> names = FilesBelow(folder);
  if (!names.ok()) return names.status();
  manifest->files.clear();
  uint64_t total = 0;
  for (const std::string& name : *names) {
    std::error_code error;
    const std::string path = absl::StrCat(folder, "/", name);
    manifest->files.push_back({.name = name, .bytes = fs::file_size(path, error)});
    if (error) return FileError("stat", path, error.value());
    total += manifest->files.back().bytes;
  }
  Meter meter(progress, total);
  for (SnapshotManifest::File& file : manifest->files) {
    const std::string path = absl::StrCat(folder, "/", file.name);
    if (absl::Status s = SyncFile(path); !s.ok()) return s;
    absl::StatusOr<std::string> sum =
        Sha256OfFile(path, [&](std::string_view piece) { return meter.Add(piece.size()); });
    if (!sum.ok()) return sum.status();
    file.sha256 = *std::move(sum);
  }
  return absl::OkStatus();
}

absl::Status PublishSnapshot(const std::string& tmp_folder, const std::string& parent,
                             const SnapshotManifest& manifest) {
  const std::string json = EncodeManifest(manifest);
  const std::string path = absl::StrCat(tmp_folder, "/", kManifest);
  if (absl::Status s = WriteFileAtomically(path, path + ".tmp", json); !s.ok()) return s;
  if (absl::Status s = SyncTree(tmp_folder); !s.ok()) return s;
  const std::string folder = absl::StrCat(parent, "/", manifest.id);
  if (::rename(tmp_folder.c_str(), folder.c_str()) != 0) return FileError("rename to", folder, errno);
  if (absl::Status s = SyncDirectory(parent); !s.ok()) return s;
  return Complete(folder, json);
}

absl::StatusOr<SnapshotManifest> ReadSnapshot(const std::string& folder) {
  const absl::StatusOr<std::string> done = ReadFile(absl::StrCat(folder, "/", kDone));
  if (absl::IsNotFound(done.status()))
    return absl::NotFoundError(absl::StrCat(folder, " is no complete snapshot"));
  if (!done.ok()) return done.status();
  const std::string path = absl::StrCat(folder, "/", kManifest);
  const absl::StatusOr<std::string> json = ReadFile(path);
  if (absl::IsNotFound(json.status())) return Damaged(path, "is missing");
  if (!json.ok()) return json.status();
  if (*done != Sha256(*json) + "\n") return Damaged(path, "its checksum is not the one in DONE");
  absl::StatusOr<SnapshotManifest> manifest = DecodeManifest(*json);
  if (manifest.ok() && manifest->id != fs::path(folder).filename().string()) {
    return Damaged(path, absl::StrCat("is of snapshot ", manifest->id));
  }
  return manifest;
}

absl::StatusOr<std::vector<SnapshotManifest>> ListSnapshots(const std::string& parent) {
  std::vector<SnapshotManifest> found;
  std::error_code error;
  if (!fs::exists(parent, error)) return found;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    if (!IsSnapshotId(it->path().filename().string())) continue;
    absl::StatusOr<SnapshotManifest> manifest = ReadSnapshot(it->path().string());
    if (manifest.ok()) found.push_back(*std::move(manifest));
  }
  if (error) return FileError("list", parent, error.value());
  std::sort(found.begin(), found.end(), [](const SnapshotManifest& a, const SnapshotManifest& b) {
    return std::tie(a.epoch, a.turn, a.created, a.id) < std::tie(b.epoch, b.turn, b.created, b.id);
  });
  return found;
}

absl::Status VerifyFiles(const std::string& folder, const SnapshotManifest& manifest,
                         const FileProgress& progress) {
  Meter meter(progress, manifest.bytes());
  std::set<std::string> named = {kManifest, kDone};
  for (const SnapshotManifest::File& file : manifest.files) {
    named.insert(file.name);
    if (absl::Status s = CheckFile(absl::StrCat(folder, "/", file.name), file, &meter); !s.ok()) return s;
  }
  absl::StatusOr<std::vector<std::string>> names = FilesBelow(folder);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (named.count(name) == 0) return Damaged(absl::StrCat(folder, "/", name), "is not in the manifest");
  }
  return absl::OkStatus();
}

absl::Status CopySnapshot(const std::string& folder, const std::string& parent,
                          const FileProgress& progress) {
  const absl::StatusOr<SnapshotManifest> manifest = ReadSnapshot(folder);
  if (!manifest.ok()) return manifest.status();
  if (absl::Status s = MakeDirectory(parent); !s.ok()) return s;
  const std::string to = absl::StrCat(parent, "/", manifest->id);
  if (const auto copied = ReadSnapshot(to); copied.ok() && *copied == *manifest) return absl::OkStatus();
  const std::string partial = to + ".partial";
  if (absl::Status s = MakeDirectory(partial); !s.ok()) return s;
  Meter meter(progress, manifest->bytes());
  for (const SnapshotManifest::File& file : manifest->files) {
    const std::string target = absl::StrCat(partial, "/", file.name);
    std::error_code error;
    fs::create_directories(fs::path(target).parent_path(), error);
    if (error) return FileError("mkdir", target, error.value());
    if (absl::Status s = CopyFile(absl::StrCat(folder, "/", file.name), target, file, &meter); !s.ok())
      return s;
  }
  return PublishSnapshot(partial, parent, *manifest);
}

absl::StatusOr<bool> RemoveSnapshot(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) return false;
  const absl::StatusOr<std::string> json = ReadFile(absl::StrCat(folder, "/", kManifest));
  if (!json.ok()) return json.status();
  const absl::StatusOr<SnapshotManifest> manifest = DecodeManifest(*json);
  if (!manifest.ok()) return manifest.status();
  std::vector<std::string> names = {kDone};
  for (const SnapshotManifest::File& file : manifest->files) names.push_back(file.name);
  names.push_back(kManifest);
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FileError("remove", path, errno);
    if (name == kDone) {
      if (absl::Status s = SyncDirectory(folder); !s.ok()) return s;
    }
  }
  std::set<std::string> folders;  // the deeper ones last
  for (const SnapshotManifest::File& file : manifest->files) {
    for (fs::path at = fs::path(file.name).parent_path(); !at.empty(); at = at.parent_path())
      folders.insert(at.string());
  }
  for (auto it = folders.rbegin(); it != folders.rend(); ++it) fs::remove(fs::path(folder) / *it, error);
  if (!fs::remove(folder, error) || error) return FileError("remove", folder, error.value());
  if (absl::Status s = SyncDirectory(fs::path(folder).parent_path().string()); !s.ok()) return s;
  return true;
}

absl::Status CloneStore(const std::string& folder, const SnapshotManifest& manifest, const std::string& to,
                        const FileProgress& progress) {
  if (::mkdir(to.c_str(), 0750) != 0) return FileError("mkdir", to, errno);
  Meter meter(progress, manifest.bytes());
  for (const SnapshotManifest::File& file : manifest.files) {
    absl::string_view name = file.name;
    if (!absl::ConsumePrefix(&name, kStore)) continue;
    const std::string from = absl::StrCat(folder, "/", file.name);
    const std::string target = absl::StrCat(to, "/", name);
    if (absl::EndsWith(name, ".sst") && ::link(from.c_str(), target.c_str()) == 0) {
      if (absl::Status s = CheckFile(target, file, &meter); !s.ok()) return s;
      continue;
    }
    if (absl::Status s = CopyFile(from, target, file, &meter); !s.ok()) return s;
  }
  return SyncTree(to);
}

}  // namespace evoke
