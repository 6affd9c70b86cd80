// Which places of a slot's payload ring are valid: `hits` alone says it, so a hit writes one small row and
// reads none.
//
// Place 0 is the first payload, place 1 + (h - 1) mod (history - 1) that of hit h. A new occupant begins at 0
// hits, so what its predecessor left in the other places is not read again before it is overwritten.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace evoke {

// In the order in which they were written; at most `history` places.
inline std::vector<uint16_t> ValidPlaces(uint32_t hits, uint32_t history) {
  std::vector<uint16_t> places;
  if (history == 0) return places;
  places.push_back(0);
  if (history == 1) return places;
  const uint64_t ring = history - 1;
  for (uint64_t h = hits - std::min<uint64_t>(hits, ring) + 1; h <= hits; ++h) {
    places.push_back(static_cast<uint16_t>(1 + (h - 1) % ring));
  }
  return places;
}

}  // namespace evoke
