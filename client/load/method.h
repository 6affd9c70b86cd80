// The calls that load is made of.
#pragma once

#include <array>
#include <cstddef>

namespace evoke::load {

enum class Method { kQuery, kUpdate, kTrainStep };

inline constexpr std::array<Method, 3> kMethods = {Method::kQuery, Method::kUpdate, Method::kTrainStep};
inline constexpr size_t kMethodCount = kMethods.size();

// As the RPC is called.
inline constexpr const char* Name(Method method) {
  constexpr const char* kNames[] = {"Query", "Update", "TrainStep"};
  return kNames[static_cast<size_t>(method)];
}

// Whether it changes the memory, and so needs a session and a number.
inline constexpr bool Writes(Method method) {
  return method != Method::kQuery;
}

}  // namespace evoke::load
