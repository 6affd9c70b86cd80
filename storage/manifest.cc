#include "storage/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace evoke {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "evoke-snapshot";
constexpr uint64_t kVersion = 1;

absl::Status Corrupt(const std::string& what) {
  return absl::DataLossError(absl::StrCat("snapshot manifest: ", what));
}

// Thrown and caught in this file only: nlohmann reports what a field lacks in the same way.
struct BadField {
  std::string what;
};

// No get<uint64_t>() of whatever number is there: it converts, and a fraction or what is out of range has no whole number.
uint64_t ToWhole(const Json& json, const char* field) {
  const Json& number = json.at(field);
  if (!number.is_number_unsigned()) throw BadField{field};
  return number.get<uint64_t>();
}

std::string FromHex(const std::string& hex, size_t bytes, const char* field) {
  const bool digits = std::all_of(hex.begin(), hex.end(), [](char c) { return absl::ascii_isxdigit(c); });
  if (!digits || hex.size() % 2 != 0 || (bytes != 0 && hex.size() != 2 * bytes)) throw BadField{field};
  return absl::HexStringToBytes(hex);
}

Hash128 ToHash(const Json& json, const char* field) {
  const std::string hex = json.at(field).get<std::string>();
  FromHex(hex, 16, field);
  Hash128 hash;
  if (!absl::SimpleHexAtoi(hex.substr(0, 16), &hash.high) ||
      !absl::SimpleHexAtoi(hex.substr(16), &hash.low)) {
    throw BadField{field};
  }
  return hash;
}

bool IsInside(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.back() == '/' || name == "MANIFEST.json" || name == "DONE")
    return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return name.find('\0') == std::string::npos;
}

SnapshotManifest Decode(const Json& json) {
  SnapshotManifest m;
  m.id = json.at("id").get<std::string>();
  if (!IsSnapshotId(m.id)) throw BadField{"id"};
  m.memory = json.at("memory").get<std::string>();
  m.spec = FromHex(json.at("spec").get<std::string>(), 0, "spec");
  m.spec_digest = ToHash(json, "spec_digest");
  m.uid = MemoryUid::FromView(FromHex(json.at("uid").get<std::string>(), 16, "uid"));
  m.epoch = Epoch(ToWhole(json, "epoch"));
  m.term = Term(ToWhole(json, "term"));
  m.turn = Turn(ToWhole(json, "turn"));
  m.step = Step(ToWhole(json, "step"));
  m.chain = ToHash(json, "chain");
  m.state_hash = ToHash(json, "state_hash");
  m.live_count = ToWhole(json, "live_slots");
  if (!json.at("created_unix_ms").is_number_integer()) throw BadField{"created_unix_ms"};
  m.created = absl::FromUnixMillis(json.at("created_unix_ms").get<int64_t>());
  m.scheduled = json.at("scheduled").get<bool>();
  for (const Json& sum : json.at("partitions")) {
    m.partitions.push_back({ToWhole(sum, "rows"), ToHash(sum, "hash")});
  }
  for (const Json& file : json.at("files")) {
    m.files.push_back({file.at("name").get<std::string>(), ToWhole(file, "bytes"),
                       file.at("sha256").get<std::string>()});
    FromHex(m.files.back().sha256, 32, "sha256");
    if (!IsInside(m.files.back().name)) throw BadField{"name"};
  }
  return m;
}

}  // namespace

std::string SnapshotId(Epoch epoch, Turn turn, absl::Time created) {
  return absl::StrCat(epoch.value, "-", turn.value, "-",
                      absl::FormatTime("%Y%m%dT%H%M%E3SZ", created, absl::UTCTimeZone()));
}

bool IsSnapshotId(std::string_view id) {
  return !id.empty() && id.size() <= 80 && absl::ascii_isdigit(id[0]) &&
         std::count(id.begin(), id.end(), '-') == 2 && std::all_of(id.begin(), id.end(), [](char c) {
           return absl::ascii_isdigit(c) || c == '-' || c == 'T' || c == 'Z' || c == '.';
         });
}

std::string EncodeManifest(const SnapshotManifest& m) {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["id"] = m.id;
  json["memory"] = m.memory;
  json["uid"] = m.uid.ToString();
  json["epoch"] = m.epoch.value;
  json["term"] = m.term.value;
  json["turn"] = m.turn.value;
  json["step"] = m.step.value;
  json["state_hash"] = m.state_hash.ToString();
  json["chain"] = m.chain.ToString();
  json["live_slots"] = m.live_count;
  json["spec"] = absl::BytesToHexString(m.spec);
  json["spec_digest"] = m.spec_digest.ToString();
  json["created_unix_ms"] = absl::ToUnixMillis(m.created);
  json["scheduled"] = m.scheduled;
  json["files"] = Json::array();
  for (const SnapshotManifest::File& f : m.files) {
    json["files"].push_back({{"name", f.name}, {"bytes", f.bytes}, {"sha256", f.sha256}});
  }
  json["partitions"] = Json::array();
  for (const SnapshotManifest::PartitionSum& sum : m.partitions) {
    json["partitions"].push_back({{"rows", sum.rows}, {"hash", sum.hash.ToString()}});
  }
  return json.dump(1) + "\n";
}

absl::StatusOr<SnapshotManifest> DecodeManifest(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Corrupt("no JSON object");
  try {
    if (json.at("format").get<std::string>() != kFormat) return Corrupt("of another format");
    if (const uint64_t version = ToWhole(json, "version"); version > kVersion || version < 1) {
      return absl::FailedPreconditionError(
          absl::StrCat("the snapshot has format version ", version, ", this program reads ", kVersion));
    }
    return Decode(json);
  } catch (const nlohmann::json::exception& e) {
    return Corrupt(e.what());
  } catch (const BadField& bad) {
    return Corrupt(absl::StrCat("bad ", bad.what));
  }
}

}  // namespace evoke
