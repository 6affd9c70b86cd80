#include "storage/catalog.h"

#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/bytes.h"
#include "storage/file_util.h"
#include "storage/sealed_row.h"

namespace evoke {
namespace {

constexpr uint32_t kMagic = 0x43'4b'56'45;  // "EVKC"
constexpr uint32_t kVersion = 1;
constexpr std::string_view kSealKey = "catalog";

absl::Status Corrupt(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

// Empty when all is well.
std::string Repeated(absl::Span<const CatalogEntry> entries) {
  absl::flat_hash_set<std::string_view> names;
  absl::flat_hash_set<MemoryUid> uids;
  for (const CatalogEntry& entry : entries) {
    if (entry.state == CatalogEntry::State::kLive && !names.insert(entry.name).second) {
      return absl::StrCat("memory \"", entry.name, "\" appears twice");
    }
    if (!uids.insert(entry.uid).second) return absl::StrCat("uid ", entry.uid.ToString(), " appears twice");
  }
  return "";
}

}  // namespace

absl::StatusOr<std::vector<CatalogEntry>> CatalogFile::Load() const {
  const std::string path = dir_->CatalogPath();
  const absl::StatusOr<std::string> file = ReadFile(path);
  if (absl::IsNotFound(file.status())) {
    const absl::StatusOr<bool> memories = dir_->HasMemoryFolders();
    if (!memories.ok()) return memories.status();
    if (*memories) return Corrupt(path, "missing, but there are folders of memories");
    return std::vector<CatalogEntry>();
  }
  if (!file.ok()) return file.status();
  const auto body = OpenSealedRow(kSealKey, *file);
  if (!body) return Corrupt(path, "checksum does not hold");
  ByteReader in(*body);
  if (in.Take<uint32_t>() != kMagic) return Corrupt(path, "does not begin with its magic number");
  if (const uint32_t version = in.Take<uint32_t>(); version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has version ", version, ", this program reads ", kVersion));
  }
  std::vector<CatalogEntry> entries(in.TakeCount(4 + 16 + 1 + 4));
  for (CatalogEntry& entry : entries) {
    entry.name = in.TakeString();
    entry.uid = in.TakeUid<MemoryUid>();
    entry.state = static_cast<CatalogEntry::State>(in.Take<uint8_t>());
    entry.spec = in.TakeString();
    if (entry.state != CatalogEntry::State::kLive && entry.state != CatalogEntry::State::kRemoved) {
      return Corrupt(path, absl::StrCat("memory \"", entry.name, "\" has an unknown state"));
    }
  }
  if (!in.AtEnd()) return Corrupt(path, "its list and its length disagree");
  if (const std::string repeated = Repeated(entries); !repeated.empty()) return Corrupt(path, repeated);
  return entries;
}

absl::Status CatalogFile::Store(absl::Span<const CatalogEntry> entries) {
  if (const std::string repeated = Repeated(entries); !repeated.empty())
    return absl::InvalidArgumentError(repeated);
  std::string file;
  ByteWriter out(&file);
  out.Put(kMagic);
  out.Put(kVersion);
  out.Put(static_cast<uint32_t>(entries.size()));
  for (const CatalogEntry& entry : entries) {
    out.PutString(entry.name);
    out.Put(entry.uid);
    out.Put(static_cast<uint8_t>(entry.state));
    out.PutString(entry.spec);
  }
  SealRow(kSealKey, &file);
  return dir_->WriteFile("catalog", file);
}

}  // namespace evoke
