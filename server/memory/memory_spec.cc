#include "server/memory/memory_spec.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace evoke {
namespace {

constexpr std::string_view kMagic = "EVSP";
constexpr uint8_t kVersion = 1;
constexpr uint64_t kMaxCapacity = (uint64_t{1} << 31) - 1;

// The fields by name, once for encoding, decoding and comparing. The order is the stored one: append only.
template <typename Visit>
void VisitFields(Visit visit) {
  visit("key_dim", &MemorySpec::key_dim);
  visit("capacity", &MemorySpec::capacity);
  visit("seed", &MemorySpec::seed);
  visit("write_rule", &MemorySpec::write_rule);
  visit("choose_k", &MemorySpec::choose_k);
  visit("margin", &MemorySpec::margin);
  visit("inverse_temperature", &MemorySpec::inverse_temperature);
  visit("age_noise", &MemorySpec::age_noise);
  visit("batch", &MemorySpec::batch);
  visit("merge_on_miss", &MemorySpec::merge_on_miss);
  visit("fold_misses", &MemorySpec::fold_misses);
  visit("payload_history", &MemorySpec::payload_history);
  visit("partitions", &MemorySpec::partitions);
  visit("durability", &MemorySpec::durability);
}

// The shortest decimal that reads back as the same number: two that differ print differently.
template <typename T>
std::string Print(T x) {
  char buffer[32];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof(buffer), x).ptr);
}
std::string Print(WriteRuleKind kind) {
  return kind == WriteRuleKind::kRareEvents ? "rare_events" : absl::StrCat(static_cast<int>(kind));
}
std::string Print(BatchMode mode) {
  return mode == BatchMode::kAtomic       ? "ATOMIC"
         : mode == BatchMode::kSequential ? "SEQUENTIAL"
                                          : absl::StrCat(static_cast<int>(mode));
}
std::string Print(SpecDurability durability) {
  return durability == SpecDurability::kMemory  ? "MEMORY"
         : durability == SpecDurability::kWal   ? "WAL"
         : durability == SpecDurability::kFsync ? "FSYNC"
                                                : absl::StrCat(static_cast<int>(durability));
}
std::string Print(const std::optional<float>& x) {
  return x ? Print(*x) : "off";
}

// Little-endian on every machine; numbers that compare equal get equal bytes, so that digests agree with ==.
class Writer {
 public:
  template <typename T>
  void Put(T x) {
    if constexpr (std::is_enum_v<T>) {
      Put(static_cast<std::underlying_type_t<T>>(x));
    } else if constexpr (std::is_same_v<T, float>) {
      Put(std::bit_cast<uint32_t>(x == 0 ? 0.0f : x));
    } else if constexpr (std::is_same_v<T, double>) {
      Put(std::bit_cast<uint64_t>(x == 0 ? 0.0 : x));
    } else {
      for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<char>(x >> (8 * i)));
    }
  }
  void Put(const std::optional<float>& x) {
    Put(static_cast<uint8_t>(x.has_value()));
    Put(x.value_or(0.0f));
  }
  std::string bytes_{kMagic};
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  void Get(T* x) {
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> raw;
      Get(&raw);
      *x = static_cast<T>(raw);
    } else if constexpr (std::is_same_v<T, float>) {
      uint32_t bits;
      Get(&bits);
      *x = std::bit_cast<float>(bits);
    } else if constexpr (std::is_same_v<T, double>) {
      uint64_t bits;
      Get(&bits);
      *x = std::bit_cast<double>(bits);
    } else {
      *x = 0;
      if (bytes_.size() < sizeof(T)) {
        ok_ = false;
        return;
      }
      for (size_t i = 0; i < sizeof(T); ++i)
        *x |= static_cast<T>(T{static_cast<uint8_t>(bytes_[i])} << (8 * i));
      bytes_.remove_prefix(sizeof(T));
    }
  }
  void Get(std::optional<float>* x) {
    uint8_t present;
    float number;
    Get(&present);
    Get(&number);
    ok_ = ok_ && present <= 1;
    *x = present == 1 ? std::optional<float>(number) : std::nullopt;
  }
  bool AtEnd() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

template <typename T>
absl::Status Bad(absl::string_view field, const T& observed, absl::string_view bounds) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", Print(observed), ", ", bounds));
}

absl::Status CheckThreshold(absl::string_view field, const std::optional<float>& theta) {
  if (!theta || (*theta >= -1.0f && *theta <= 1.0f)) return absl::OkStatus();  // NaN is in no range
  return Bad(field, theta, "must be -1 to 1");
}

}  // namespace

uint32_t MemorySpec::DefaultAgeNoise(uint64_t capacity) {
  return static_cast<uint32_t>(std::min<uint64_t>(capacity / 64, 4096));
}

absl::Status ValidateSpec(const MemorySpec& spec) {
  if (spec.key_dim < 1 || spec.key_dim > 4096) return Bad("key_dim", spec.key_dim, "must be 1 to 4096");
  if (spec.capacity < 1 || spec.capacity > kMaxCapacity) {
    return Bad("capacity", spec.capacity, absl::StrCat("must be 1 to ", kMaxCapacity));
  }
  if (spec.write_rule != WriteRuleKind::kRareEvents) {
    return Bad("write_rule", spec.write_rule, "must be rare_events");
  }
  if (spec.choose_k < 1 || spec.choose_k > 1024) return Bad("choose_k", spec.choose_k, "must be 1 to 1024");
  if (!std::isfinite(spec.margin) || spec.margin < 0)
    return Bad("margin", spec.margin, "must be finite and >= 0");
  if (!std::isfinite(spec.inverse_temperature) || spec.inverse_temperature <= 0) {
    return Bad("inverse_temperature", spec.inverse_temperature, "must be finite and > 0");
  }
  if (spec.age_noise > 65536) return Bad("age_noise", spec.age_noise, "at most 65536");
  if (spec.age_noise > spec.capacity / 4) {
    return Bad("age_noise", spec.age_noise, absl::StrCat("at most capacity / 4 = ", spec.capacity / 4));
  }
  if (spec.batch != BatchMode::kAtomic && spec.batch != BatchMode::kSequential) {
    return Bad("batch", spec.batch, "must be ATOMIC or SEQUENTIAL");
  }
  if (absl::Status s = CheckThreshold("merge_on_miss", spec.merge_on_miss); !s.ok()) return s;
  if (absl::Status s = CheckThreshold("fold_misses", spec.fold_misses); !s.ok()) return s;
  if (spec.payload_history > 16) return Bad("payload_history", spec.payload_history, "must be 0 to 16");
  if (spec.partitions < 1 || spec.partitions > 65536 || !std::has_single_bit(spec.partitions)) {
    return Bad("partitions", spec.partitions, "must be a power of two, 1 to 65536");
  }
  if (spec.durability < SpecDurability::kMemory || spec.durability > SpecDurability::kFsync) {
    return Bad("durability", spec.durability, "must be MEMORY, WAL or FSYNC");
  }
  return absl::OkStatus();
}

std::string SpecDifference(const MemorySpec& existing, const MemorySpec& wanted) {
  std::string difference;
  VisitFields([&](absl::string_view name, auto field) {
    if (!difference.empty() || existing.*field == wanted.*field) return;
    difference = absl::StrCat(name, ": ", Print(existing.*field), ", not ", Print(wanted.*field));
  });
  return difference;
}

std::string EncodeSpec(const MemorySpec& spec) {
  Writer writer;
  writer.Put(kVersion);
  VisitFields([&](absl::string_view, auto field) { writer.Put(spec.*field); });
  return std::move(writer.bytes_);
}

absl::StatusOr<MemorySpec> DecodeSpec(std::string_view bytes) {
  if (bytes.size() <= kMagic.size() || bytes.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError(absl::StrCat(bytes.size(), " bytes are no memory spec"));
  }
  const uint8_t version = static_cast<uint8_t>(bytes[kMagic.size()]);
  if (version > kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("memory spec has format version ", version, ", this program reads up to ", kVersion));
  }
  MemorySpec spec;
  Reader reader(bytes.substr(kMagic.size() + 1));
  VisitFields([&](absl::string_view, auto field) { reader.Get(&(spec.*field)); });
  if (version == 0 || !reader.AtEnd()) {
    return absl::DataLossError(absl::StrCat("memory spec of ", bytes.size(), " bytes is damaged"));
  }
  if (absl::Status valid = ValidateSpec(spec); !valid.ok()) {
    return absl::DataLossError(absl::StrCat("memory spec is damaged: ", valid.message()));
  }
  return spec;
}

Hash128 SpecDigest(const MemorySpec& spec) {
  const std::string bytes = EncodeSpec(spec);
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace evoke
