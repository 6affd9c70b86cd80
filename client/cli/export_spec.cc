// The half of export_file.h that is about the spec of the memory.
#include <initializer_list>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/export_file.h"
#include "evoke/names.h"

namespace evoke::cli {
namespace {

template <typename Enum>
bool FromName(const Json& json, std::initializer_list<Enum> known, Enum* target) {
  for (const Enum candidate : known) {
    if (json.get<std::string>() != absl::AsciiStrToLower(client::Name(candidate))) continue;
    *target = candidate;
    return true;
  }
  return false;
}

template <typename T>
bool Number(const Json& json, T* target) {
  *target = json.get<typename std::conditional_t<std::is_same_v<T, float>, double, T>>();
  return true;
}
template <typename T>
bool Number(const Json& json, std::optional<T>* target) {
  return Number(json, &target->emplace());
}

// False: a field or a name that is not known here.
bool ReadField(const std::string& field, const Json& value, client::MemorySpec* spec) {
  using client::BatchMode;
  using client::Durability;
  if (field == "key_dim") return Number(value, &spec->key_dim);
  if (field == "capacity") return Number(value, &spec->capacity);
  if (field == "seed") return Number(value, &spec->seed);
  if (field == "write_rule") return FromName(value, {client::WriteRule::kRareEvents}, &spec->write_rule);
  if (field == "choose_k") return Number(value, &spec->choose_k);
  if (field == "margin") return Number(value, &spec->margin);
  if (field == "inverse_temperature") return Number(value, &spec->inverse_temperature);
  if (field == "age_noise") return Number(value, &spec->age_noise);
  if (field == "batch") return FromName(value, {BatchMode::kAtomic, BatchMode::kSequential}, &spec->batch);
  if (field == "merge_on_miss") return Number(value, &spec->merge_on_miss);
  if (field == "fold_misses") return Number(value, &spec->fold_misses);
  if (field == "payload_history") return Number(value, &spec->payload_history);
  if (field == "partitions") return Number(value, &spec->partitions);
  return field == "durability" &&
         FromName(value, {Durability::kMemory, Durability::kWal, Durability::kFsync}, &spec->durability);
}

}  // namespace

Json SpecToExport(const client::MemorySpec& spec) {
  Json json = ToJson(spec);
  for (const char* field : {"write_rule", "batch", "durability"}) {
    const std::string name = absl::AsciiStrToLower(json.at(field).get<std::string>());
    json[field] = name == "unspecified" ? Json() : Json(name);
  }
  return json;
}

absl::StatusOr<client::MemorySpec> SpecFromExport(const Json& json) {
  client::MemorySpec spec;
  try {
    for (const auto& [field, value] : json.items()) {
      if (value.is_null()) continue;
      // What a field that is not known here means cannot be kept, so it is not passed over.
      if (!ReadField(field, value, &spec)) {
        return absl::InvalidArgumentError(
            absl::StrCat("says ", field, " = ", value.dump(), ", which is not known here"));
      }
    }
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
  if (spec.key_dim == 0) return absl::InvalidArgumentError("has no key_dim");
  return spec;
}

}  // namespace evoke::cli
