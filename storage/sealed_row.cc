#include "storage/sealed_row.h"

#include <xxhash.h>

#include "storage/bytes.h"

namespace evoke {
namespace {

uint64_t Sum(std::string_view key, std::string_view body) {
  return XXH3_64bits_withSeed(body.data(), body.size(), XXH3_64bits(key.data(), key.size()));
}

}  // namespace

void SealRow(std::string_view key, std::string* value) {
  const uint64_t sum = Sum(key, *value);
  ByteWriter(value).Put(sum);
}

std::optional<std::string_view> OpenSealedRow(std::string_view key, std::string_view value) {
  if (value.size() < sizeof(uint64_t)) return std::nullopt;
  const std::string_view body = value.substr(0, value.size() - sizeof(uint64_t));
  if (ByteReader(value.substr(body.size())).Take<uint64_t>() != Sum(key, body)) return std::nullopt;
  return body;
}

}  // namespace evoke
