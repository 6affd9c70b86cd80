// From requests to tasks and from answers to replies: all validation of what a client sent is in the convert
// files.
//
// convert.h has what the methods share; convert_rows.h the matrices; convert_query.h, convert_observe.h and
// convert_admin.h the methods. Functions are pure and thread-safe. A request is refused before any work is
// done for it, with the reasons of proto/README.md; nothing of a refused request is kept.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "evoke/v1/types.pb.h"
#include "server/engine/task.h"
#include "server/memory/memory_spec.h"

namespace evoke {

static_assert(std::endian::native == std::endian::little,
              "matrices travel little-endian and are copied as they are");

inline constexpr uint64_t kMaxPayloadBytes = 4096;  // of one row; part of the semantics, not an option

// What the process refuses; Status tells clients.
struct RequestLimits {
  uint64_t max_message_bytes = uint64_t{64} << 20;  // of a request, and of a reply as predicted
  uint32_t max_rows = 16384;                        // of a request
  uint32_t max_k = 1024;                            // neighbors of a row
};

// The memory that a request is for, as far as conversion needs it. The references must outlive the call.
struct Target {
  const std::string& memory;
  const MemorySpec& spec;
  const RequestLimits& limits;
};

// What a request demands of the memory (MemoryRef).
struct MemoryRequirement {
  std::string name;
  MemoryUid uid;  // zero: any
  std::optional<uint64_t> epoch;
  uint64_t min_turn = 0;
};

absl::StatusOr<MemoryRequirement> ToRequirement(const v1::MemoryRef& ref);

// A uid of a request: zero for empty, else 16 bytes (BAD_ARGUMENT naming `field`).
absl::StatusOr<MemoryUid> ToUid(const char* field, std::string_view bytes);

// Everything of a mutation but the digest.
absl::StatusOr<MutationId> ToMutation(const v1::Mutation& mutation);

// `header` without instance and term, as it is stored with replies.
void FillStoredHeader(const StateName& state, v1::ReplyHeader* header);
// The whole header.
v1::ReplyHeader ToHeader(const StateName& state, std::string_view instance);
// Bytes that, put behind a stored reply, complete its header: protobuf merges concatenated messages. The same
// for all mutations, whose header is field 1.
std::string EncodeHeaderPatch(std::string_view instance, Term term);

// Bits [rows], eight to a byte, row 0 lowest. An empty string means `if_empty` for every row. BAD_SHAPE for
// another length, BAD_ARGUMENT for a bit beyond the last row.
absl::StatusOr<std::vector<uint8_t>> UnpackBits(const char* field, std::string_view bits, uint32_t rows,
                                                uint8_t if_empty);
std::string PackBits(const std::vector<uint8_t>& flags);

// The numbers as they lie in memory.
template <typename T>
std::string ToBytes(const std::vector<T>& numbers) {
  static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

// INVALID_ARGUMENT / BAD_SHAPE.
absl::Status BadShape(std::string_view message);
// INVALID_ARGUMENT / TOO_LARGE: "<message>: 20000, the limit is 16384", both numbers in the metadata too.
absl::Status TooLarge(const char* field, const std::string& message, uint64_t observed, uint64_t limit);

}  // namespace evoke
