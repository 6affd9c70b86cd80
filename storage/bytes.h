// Numbers and strings as bytes, and back without trusting them.
//
// Every encoding of this folder is built from these two. Values are little-endian; row keys use the
// big-endian calls, so that the order of bytes is the order of numbers. A length-prefixed string is u32
// length | bytes.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "storage/ids.h"

namespace evoke {

// Arrays of floats are copied as they lie in memory.
static_assert(std::endian::native == std::endian::little);

// Appends to a string that must outlive it.
class ByteWriter {
 public:
  explicit ByteWriter(std::string* out) : out_(out) {}

  template <std::integral T>
  void Put(T value) {
    out_->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <std::unsigned_integral T>
  void PutBigEndian(T value) {
    for (int shift = 8 * (sizeof value - 1); shift >= 0; shift -= 8) {
      out_->push_back(static_cast<char>(value >> shift));
    }
  }
  void Put(Hash128 hash) {
    Put(hash.low);
    Put(hash.high);
  }
  template <typename Tag>
  void Put(Id<Tag> id) {
    Put(id.value);
  }
  template <typename Tag>
  void Put(const Uid<Tag>& uid) {
    out_->append(uid.View());
  }
  void PutRaw(std::string_view bytes) { out_->append(bytes); }
  // Requires: bytes.size() < 2^32.
  void PutString(std::string_view bytes) {
    Put(static_cast<uint32_t>(bytes.size()));
    out_->append(bytes);
  }

 private:
  std::string* const out_;
};

// Reads from the front of `bytes`, which must outlive it and what TakeRaw and TakeString return. The first
// read beyond the end makes ok() false for good; that read and all later ones return zeros and move nothing,
// so a decoder may check ok() once at its end and before it uses a count.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }
  // True when everything was read and nothing beyond.
  bool AtEnd() const { return ok_ && rest_.empty(); }

  template <std::integral T>
  T Take() {
    T value = 0;
    const std::string_view raw = TakeRaw(sizeof value);
    if (!raw.empty()) std::memcpy(&value, raw.data(), sizeof value);
    return value;
  }
  template <std::unsigned_integral T>
  T TakeBigEndian() {
    T value = 0;
    for (char byte : TakeRaw(sizeof value))
      value = static_cast<T>(uint64_t{value} << 8 | static_cast<uint8_t>(byte));
    return value;
  }
  Hash128 TakeHash() {
    Hash128 hash;
    hash.low = Take<uint64_t>();
    hash.high = Take<uint64_t>();
    return hash;
  }
  template <typename U>  // MemoryUid or SessionId
  U TakeUid() {
    const std::string_view raw = TakeRaw(16);
    return raw.empty() ? U{} : U::FromView(raw);
  }
  std::string_view TakeString() { return TakeRaw(Take<uint32_t>()); }
  std::string_view TakeRaw(size_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view raw = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return raw;
  }
  // A u32 count of items of at least `item_bytes` each: 0 and not ok when that many cannot follow, so a count
  // that was returned may be allocated.
  uint32_t TakeCount(size_t item_bytes) {
    const uint32_t count = Take<uint32_t>();
    if (count > rest_.size() / item_bytes) ok_ = false;
    return ok_ ? count : 0;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace evoke
