// Names and numbers of a memory on disk: distinct types, so that no two of them are mixed up.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace evoke {

// A 64-bit number that converts to nothing else. Tag makes each one a type of its own.
template <typename Tag>
struct Id {
  uint64_t value = 0;
  constexpr Id() = default;
  constexpr explicit Id(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(Id, Id) = default;
  constexpr Id Next() const { return Id(value + 1); }
  template <typename H>
  friend H AbslHashValue(H h, Id id) {
    return H::combine(std::move(h), id.value);
  }
};

using SlotId = Id<struct SlotIdTag>;        // a position in a memory, 0 .. capacity - 1
using Step = Id<struct StepTag>;            // observations that were written so far; the first one owns step 1
using Turn = Id<struct TurnTag>;            // durable commits of a memory, counted from 1 without holes
using Term = Id<struct TermTag>;            // who may write; 1 for ever on a single node
using Epoch = Id<struct EpochTag>;          // which content; 1 at Create, +1 at Clear and restore in place
using Partition = Id<struct PartitionTag>;  // slot mod P

// 128 bits without a type of their own beyond that: sums and names. `high` is printed first.
struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend constexpr auto operator<=>(const Hash128&, const Hash128&) = default;
  // Addition modulo 2^128, and its inverse: the state hash is a sum over live slots.
  constexpr Hash128& operator+=(Hash128 o) {
    low += o.low;
    high += o.high + (low < o.low ? 1 : 0);
    return *this;
  }
  constexpr Hash128& operator-=(Hash128 o) {
    const uint64_t borrow = low < o.low ? 1 : 0;
    low -= o.low;
    high -= o.high + borrow;
    return *this;
  }
  // 32 lower-case hex digits, high half first.
  std::string ToString() const {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string s(32, '0');
    for (int i = 0; i < 16; ++i) {
      s[i] = kHex[(high >> (60 - 4 * i)) & 15];
      s[16 + i] = kHex[(low >> (60 - 4 * i)) & 15];
    }
    return s;
  }
};

// A 128-bit name chosen at random (by a server for a memory, by a client for a session); 16 raw bytes on the wire.
template <typename Tag>
struct Uid {
  std::array<uint8_t, 16> bytes{};
  friend constexpr auto operator<=>(const Uid&, const Uid&) = default;
  bool IsZero() const { return *this == Uid{}; }
  std::string_view View() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  // Requires: raw.size() == 16.
  static Uid FromView(std::string_view raw) {
    Uid id;
    for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<uint8_t>(raw[i]);
    return id;
  }
  // 32 lower-case hex digits, in byte order.
  std::string ToString() const {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string s;
    for (uint8_t b : bytes) {
      s += kHex[b >> 4];
      s += kHex[b & 15];
    }
    return s;
  }
  template <typename H>
  friend H AbslHashValue(H h, const Uid& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

using MemoryUid = Uid<struct MemoryUidTag>;    // new at Create, Fork and restore-as-new
using SessionId = Uid<struct SessionIdTag>;    // belongs to one memory uid

}  // namespace evoke
