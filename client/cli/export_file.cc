#include "client/cli/export_file.h"

#include <zip.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/digest.h"
#include "evoke/error_details.h"

namespace evoke::cli {
namespace {

constexpr uint64_t kBlockBytes = 4 << 20;
constexpr uint64_t kHeaderLimit = 64 << 20;  // of the JSON: far beyond any, so that a lie cannot fill the RAM

std::string ZipError(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExportFile>> ExportFile::Open(const std::string& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr && code == ZIP_ER_NOENT)
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  std::unique_ptr<ExportFile> file(new ExportFile(path, archive));
  if (archive == nullptr)
    return file->Damaged(kHeaderMember, absl::StrCat("cannot be read: ", ZipError(code)));
  if (absl::Status status = file->ReadHeader(); !status.ok()) return status;
  return file;
}

ExportFile::~ExportFile() {
  for (Member& member : members_) {
    if (member.file != nullptr) zip_fclose(member.file);
  }
  if (archive_ != nullptr) zip_discard(archive_);
}

absl::Status ExportFile::ReadHeader() {
  zip_stat_t stat;
  if (zip_stat(archive_, kHeaderMember, 0, &stat) != 0) {
    return Damaged(kHeaderMember, "is not there: this is no export of Evoke");
  }
  zip_file_t* file = stat.size <= kHeaderLimit ? zip_fopen(archive_, kHeaderMember, 0) : nullptr;
  std::string text(file == nullptr ? 0 : stat.size, '\0');
  const bool read =
      file != nullptr && zip_fread(file, text.data(), text.size()) == static_cast<zip_int64_t>(text.size());
  if (file != nullptr) zip_fclose(file);
  const Json header =
      read ? Json::parse(text, nullptr, /*allow_exceptions=*/false) : Json(Json::value_t::discarded);
  if (!header.is_object()) return Damaged(kHeaderMember, "cannot be read");
  const Json format = header.value("format", Json());
  if (format != kExportFormat) {
    return Damaged(kHeaderMember, absl::StrCat("says format ", format.dump(), ", this client reads \"",
                                               kExportFormat, "\""));
  }
  try {  // of another type than they should be: thrown by the library
    memory_ = header.at("memory").get<std::string>();
    step_ = header.at("step").get<uint64_t>();
    state_hash_ = header.at("state_hash").get<std::string>();
    counts_.rows = header.at("live_slots").get<uint64_t>();
    absl::StatusOr<client::MemorySpec> spec = SpecFromExport(header.at("spec"));
    if (!spec.ok()) return Damaged(kHeaderMember, absl::StrCat("has a spec that ", spec.status().message()));
    spec_ = *spec;
    counts_.key_dim = spec_.key_dim;
    for (size_t c = 0; c < kColumnCount; ++c) {
      if (absl::Status status = FindMember(static_cast<Column>(c), header.at("members")); !status.ok())
        return status;
    }
  } catch (const Json::exception& error) {
    return Damaged(kHeaderMember, absl::StrCat("lacks a field: ", error.what()));
  }
  return absl::OkStatus();
}

absl::Status ExportFile::FindMember(Column column, const Json& described) {
  const std::string name = kColumns[column].member();
  Member& member = members_[column];
  zip_stat_t stat;
  if (!described.contains(name) || zip_stat(archive_, name.c_str(), 0, &stat) != 0)
    return Damaged(name, "is not there");
  member.bytes = described.at(name).at("bytes").get<uint64_t>();
  member.sha256 = described.at(name).at("sha256").get<std::string>();
  if (stat.comp_method != ZIP_CM_STORE)
    return Damaged(name, "is compressed; the members of an export are stored");
  if (stat.size != member.bytes) {
    return Damaged(name, absl::StrCat("has ", stat.size, " bytes, expected ", member.bytes));
  }
  member.file = zip_fopen_index(archive_, stat.index, 0);
  if (member.file == nullptr) return Damaged(name, absl::StrCat("cannot be read: ", zip_strerror(archive_)));
  return absl::OkStatus();
}

absl::Status ExportFile::Verify(const client::Progress& progress) {
  uint64_t total = 0, done = 0;
  for (const Member& member : members_) total += member.bytes;
  std::string block(kBlockBytes, '\0');
  for (size_t c = 0; c < kColumnCount; ++c) {
    Member& member = members_[c];
    const std::string name = kColumns[c].member();
    Sha256 digest;
    for (uint64_t at = 0; at < member.bytes;) {
      const zip_int64_t got = zip_fread(member.file, block.data(), std::min(kBlockBytes, member.bytes - at));
      if (got <= 0) return Damaged(name, "cannot be read to its end");
      digest.Add({block.data(), static_cast<size_t>(got)});
      at += static_cast<uint64_t>(got);
      done += static_cast<uint64_t>(got);
      if (progress != nullptr) progress("verify", done, total);
    }
    const std::string sum = digest.Hex();
    if (sum != member.sha256)
      return Damaged(name, absl::StrCat("has sha256 ", sum, ", expected ", member.sha256));
  }
  return CheckColumns();
}

absl::Status ExportFile::CheckColumns() {
  std::array<std::vector<uint64_t>, kColumnCount> shapes;
  for (size_t c = 0; c < kColumnCount; ++c) {
    Member& member = members_[c];
    std::string head(std::min<uint64_t>(member.bytes, 4096), '\0');
    if (absl::Status status = ReadAt(static_cast<Column>(c), 0, head.size(), head.data()); !status.ok())
      return status;
    const absl::Status status = ReadNpyHead(head, static_cast<Column>(c), &member.head_bytes, &shapes[c]);
    if (!status.ok()) return Damaged(kColumns[c].member(), status.message());
  }
  counts_.payloads = shapes[kPayloadRows].size() == 1 ? shapes[kPayloadRows][0] : 0;
  const auto fits = [&](Column column) {
    const uint64_t bytes = members_[column].bytes - members_[column].head_bytes;
    return shapes[column] == counts_.Shape(column) && bytes == counts_.Bytes(column);
  };
  if (counts_.payloads > 0 && fits(kPayloadEnds)) {
    const auto last = Read<uint64_t>(kPayloadEnds, counts_.payloads - 1, 1);
    if (!last.ok()) return last.status();
    counts_.payload_bytes = last->front();
  }
  for (size_t c = 0; c < kColumnCount; ++c) {
    if (fits(static_cast<Column>(c))) continue;
    return Damaged(
        kColumns[c].member(),
        absl::StrCat("has shape [", absl::StrJoin(shapes[c], ", "), "] in ", members_[c].bytes,
                     " bytes, expected [", absl::StrJoin(counts_.Shape(static_cast<Column>(c)), ", "), "]"));
  }
  absl::Status status = CheckAscending(kWrittenSteps, true, step_);
  if (status.ok() && counts_.payloads > 0) status = CheckAscending(kPayloadRows, false, counts_.rows - 1);
  if (status.ok()) status = CheckAscending(kPayloadEnds, false, counts_.payload_bytes);
  return status;
}

absl::Status ExportFile::CheckAscending(Column column, bool strictly, uint64_t limit) {
  constexpr uint64_t kPiece = kBlockBytes / sizeof(uint64_t);
  const uint64_t count = counts_.Shape(column)[0];
  uint64_t last = 0;
  for (uint64_t first = 0; first < count; first += kPiece) {
    const auto items = Read<uint64_t>(column, first, std::min(kPiece, count - first));
    if (!items.ok()) return items.status();
    for (size_t i = 0; i < items->size(); ++i) {
      const uint64_t item = (*items)[i];
      const bool begins = first + i == 0;
      if (item > limit || (!begins && (strictly ? item <= last : item < last))) {
        return Damaged(kColumns[column].member(), absl::StrCat("is out of order at ", first + i));
      }
      last = item;
    }
  }
  return absl::OkStatus();
}

absl::Status ExportFile::ReadAt(Column column, uint64_t offset, uint64_t size, void* data) const {
  if (size == 0) return absl::OkStatus();
  const Member& member = members_[column];
  if (zip_fseek(member.file, static_cast<zip_int64_t>(member.head_bytes + offset), SEEK_SET) != 0) {
    return Damaged(kColumns[column].member(), "cannot be read at any place");
  }
  for (uint64_t done = 0; done < size;) {
    const zip_int64_t got = zip_fread(member.file, static_cast<char*>(data) + done, size - done);
    if (got <= 0) return Damaged(kColumns[column].member(), "cannot be read to its end");
    done += static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::Status ExportFile::Damaged(absl::string_view member, absl::string_view what) const {
  absl::Status status = absl::DataLossError(absl::StrCat(path_, ": ", member, " ", what));
  client::ErrorDetails details;
  details.reason = "DAMAGED_FILE";
  details.metadata["member"] = std::string(member);
  client::SetErrorDetails(details, &status);
  return status;
}

}  // namespace evoke::cli
