// What every fuzz target defines. Input: any bytes. It returns, or dies in a check or a sanitizer: never throws.
//
// A target holds a promise of the code that it calls, beyond "does not crash", with EVOKE_CHECK. Where a format has a
// checksum, the first byte of the input says whether the rest is taken as it is or the target seals it: else hardly any
// input would get past the sum. An input is a function of its bytes alone: no clock, no randomness, nothing kept from
// one to the next that could be seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "server/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace evoke::fuzz {

inline std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// What a decoder of stored bytes may answer to those that it does not take.
inline void CheckRefusal(const absl::Status& status) {
  EVOKE_CHECK(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status));
  EVOKE_CHECK(!status.message().empty());
}

}  // namespace evoke::fuzz
