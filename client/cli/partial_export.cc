#include "client/cli/partial_export.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/export_file.h"
#include "client/cli/export_writer.h"
#include "evoke/error_details.h"

namespace evoke::cli {
namespace {

constexpr char kPartialFormat[] = "evoke-export-partial 1";
constexpr char kWrittenBy[] = "evokectl " EVOKE_VERSION;
// What a crash loses at most; a sync of ten files every MiB would be most of the time.
constexpr uint64_t kCommitBytes = 64 << 20;

absl::Status FileError(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

absl::Status Refused(absl::string_view reason, const std::string& message) {
  absl::Status status = absl::FailedPreconditionError(message);
  client::ErrorDetails details;
  details.reason = std::string(reason);
  client::SetErrorDetails(details, &status);
  return status;
}

absl::Status WriteAll(int fd, const char* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError("write", path);
    data += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const absl::Status status = synced ? absl::OkStatus() : FileError("sync", path);
  if (fd >= 0) close(fd);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PartialExport>> PartialExport::Open(const std::string& path) {
  std::unique_ptr<PartialExport> partial(new PartialExport(path));
  absl::Status status = partial->OpenFiles();
  if (status.ok()) partial->Load();
  if (status.ok()) status = partial->Cut();
  if (!status.ok()) return status;
  return partial;
}

PartialExport::~PartialExport() {
  for (const int fd : files_) {
    if (fd >= 0) close(fd);
  }
  if (lock_ >= 0) close(lock_);
}

absl::Status PartialExport::OpenFiles() {
  if (mkdir(folder_.c_str(), 0777) != 0 && errno != EEXIST) return FileError("make", folder_);
  lock_ = open(Of("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) return FileError("open", Of("lock"));
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return Refused("EXPORT_RUNS", absl::StrCat("another process exports to ", path_));
  }
  for (size_t c = 0; c < kColumnCount; ++c) {
    files_[c] = open(RawOf(c).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (files_[c] < 0) return FileError("open", RawOf(c));
  }
  return absl::OkStatus();
}

void PartialExport::Load() {
  std::ifstream in(Of("progress.json"));
  Json found = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  try {  // what is not ours is as good as nothing
    if (!found.is_object() || found.at("format") != kPartialFormat) return;
    counts_ = {.rows = found.at("rows").get<uint64_t>(),
               .key_dim = found.at("spec").at("key_dim").get<uint64_t>(),
               .payloads = found.at("payload_count").get<uint64_t>(),
               .payload_bytes = found.at("payload_size").get<uint64_t>()};
    for (const char* number : {"epoch", "turn", "step", "last_step", "live_slots"})
      found.at(number).get<uint64_t>();
    for (const char* text : {"uid", "state_hash", "memory"}) found.at(text).get<std::string>();
    found.at("payloads").get<bool>();
  } catch (const Json::exception&) {
    counts_ = {};
    return;
  }
  found.erase("format");
  state_ = std::move(found);
}

// Brings the files to the length that the state says; begins anew when one is shorter.
absl::Status PartialExport::Cut() {
  for (size_t c = 0; c < kColumnCount; ++c) {
    const auto size = static_cast<off_t>(counts_.Bytes(static_cast<Column>(c)));
    struct stat found;
    if (fstat(files_[c], &found) != 0) return FileError("read", RawOf(c));
    if (found.st_size < size) return Reset();
    if (ftruncate(files_[c], size) != 0) return FileError("cut", RawOf(c));
  }
  return absl::OkStatus();
}

absl::Status PartialExport::Reset() {
  if (unlink(Of("progress.json").c_str()) != 0 && errno != ENOENT)
    return FileError("remove", Of("progress.json"));
  state_ = nullptr;
  counts_ = {};
  return Cut();
}

absl::Status PartialExport::Begin(const client::ExportedState& state, bool with_payloads) {
  const Json header = {{"written_by", kWrittenBy},        {"memory", state.header.memory},
                       {"uid", state.header.uid.ToHex()}, {"epoch", state.header.epoch},
                       {"turn", state.header.turn},       {"step", state.header.step},
                       {"state_hash", state.state_hash},  {"live_slots", state.live_slots},
                       {"payloads", with_payloads},       {"spec", SpecToExport(state.spec)}};
  if (begun()) {
    for (const char* field : {"uid", "epoch", "turn", "state_hash", "payloads"}) {
      if (state_.at(field) == header.at(field)) continue;
      return Refused("EXPORT_CHANGED", "the memory is not in the state that the export began with");
    }
    return absl::OkStatus();
  }
  state_ = header;
  state_["last_step"] = 0;
  counts_ = {.key_dim = state.spec.key_dim};
  return absl::OkStatus();
}

template <typename T>
absl::Status PartialExport::Write(Column column, const T* items, size_t count) {
  uncommitted_bytes_ += count * sizeof(T);
  return WriteAll(files_[column], reinterpret_cast<const char*>(items), count * sizeof(T), RawOf(column));
}

absl::Status PartialExport::Append(const client::SlotRows& rows) {
  if (rows.rows() == 0) return absl::OkStatus();
  std::vector<const client::PlacedPayload*> payloads;
  for (const client::PlacedPayload& payload : rows.payloads) payloads.push_back(&payload);
  std::sort(payloads.begin(), payloads.end(), [](const auto* a, const auto* b) {
    return std::pair(a->row, a->place) < std::pair(b->row, b->place);
  });
  std::vector<uint64_t> of_row, steps, ends;
  std::vector<uint16_t> places;
  std::string bytes;
  for (const client::PlacedPayload* payload : payloads) {
    of_row.push_back(counts_.rows + payload->row);
    places.push_back(static_cast<uint16_t>(payload->place));
    steps.push_back(payload->step);
    bytes += payload->data;
    ends.push_back(counts_.payload_bytes + bytes.size());
  }
  absl::Status status = Write(kSlots, rows.slots.data(), rows.rows());
  if (status.ok()) status = Write(kValues, rows.values.data(), rows.rows());
  if (status.ok()) status = Write(kWrittenSteps, rows.written_steps.data(), rows.rows());
  if (status.ok()) status = Write(kHits, rows.hits.data(), rows.rows());
  if (status.ok()) status = Write(kKeys, rows.keys.data(), rows.keys.size());
  if (status.ok()) status = Write(kPayloadRows, of_row.data(), of_row.size());
  if (status.ok()) status = Write(kPayloadPlaces, places.data(), places.size());
  if (status.ok()) status = Write(kPayloadSteps, steps.data(), steps.size());
  if (status.ok()) status = Write(kPayloadEnds, ends.data(), ends.size());
  if (status.ok()) status = Write(kPayloadBytes, bytes.data(), bytes.size());
  if (!status.ok()) return status;
  counts_.rows += rows.rows();
  counts_.payloads += payloads.size();
  counts_.payload_bytes += bytes.size();
  state_["last_step"] = rows.written_steps.back();
  return uncommitted_bytes_ < kCommitBytes ? absl::OkStatus() : Commit();
}

absl::Status PartialExport::Commit() {
  if (!begun()) return absl::OkStatus();
  for (size_t c = 0; c < kColumnCount; ++c) {
    if (fsync(files_[c]) != 0) return FileError("sync", RawOf(c));
  }
  Json progress = state_;
  progress["rows"] = counts_.rows;
  progress["payload_count"] = counts_.payloads;
  progress["payload_size"] = counts_.payload_bytes;
  progress["format"] = kPartialFormat;
  const std::string text = progress.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string fresh = Of("progress.new");
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return FileError("write", fresh);
  absl::Status status = WriteAll(fd, text.data(), text.size(), fresh);
  if (status.ok() && fsync(fd) != 0) status = FileError("sync", fresh);
  close(fd);
  if (status.ok() && rename(fresh.c_str(), Of("progress.json").c_str()) != 0)
    status = FileError("rename", fresh);
  if (status.ok()) status = SyncFolder(folder_);
  if (status.ok()) uncommitted_bytes_ = 0;
  return status;
}

absl::Status PartialExport::Finish(const client::Progress& progress) {
  absl::Status status = Commit();
  if (!status.ok()) return status;
  RemoveTemporaries();
  Json header = state_;
  for (const char* ours : {"rows", "last_step", "payload_count", "payload_size"}) header.erase(ours);
  std::array<std::string, kColumnCount> raw;
  for (size_t c = 0; c < kColumnCount; ++c) raw[c] = RawOf(c);
  status = WriteExportFile(Of("assembled"), std::move(header), counts_, raw, progress);
  if (!status.ok()) return status;
  if (rename(Of("assembled").c_str(), path_.c_str()) != 0) return FileError("rename", Of("assembled"));
  const std::string parent = std::filesystem::absolute(path_).parent_path();
  if (status = SyncFolder(parent); !status.ok()) return status;
  // The export is done; what cannot be removed is cut off by the next one.
  for (const std::string& name : raw) unlink(name.c_str());
  for (const char* name : {"progress.json", "lock"}) unlink(Of(name).c_str());
  rmdir(folder_.c_str());
  return absl::OkStatus();
}

// What libzip leaves when its process is killed.
void PartialExport::RemoveTemporaries() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    if (absl::StartsWith(entry.path().filename().string(), "assembled")) unlink(entry.path().c_str());
  }
}

}  // namespace evoke::cli
