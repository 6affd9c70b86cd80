#include "server/memory/value_index.h"

#include <cassert>

namespace evoke {
namespace {

constexpr uint64_t kEntryBytes = sizeof(std::pair<const int64_t, ValueIndex::Entry>) + 1;

// Tables smaller than this are not worth a rehash.
constexpr size_t kShrinkFrom = 1024;

}  // namespace

void ValueIndex::Add(uint32_t position, int64_t value, uint32_t hits) {
  Entry& entry = entries_[value];
  ++entry.live_slots;
  entry.observations += 1 + uint64_t{hits};
  Link(position, &entry);
}

void ValueIndex::Remove(uint32_t position, int64_t value, uint32_t hits) {
  const auto it = entries_.find(value);
  assert(it != entries_.end());
  --it->second.live_slots;
  it->second.observations -= 1 + uint64_t{hits};
  Unlink(position, &it->second);
  if (it->second.live_slots > 0) return;
  entries_.erase(it);
  // Only rehash(0) shrinks. It leaves the map tight, so one more may follow soon; after that, as many changes
  // as the map has entries must come before the next: O(1) each.
  if (entries_.capacity() > kShrinkFrom && entries_.size() < entries_.capacity() / 16) entries_.rehash(0);
}

void ValueIndex::Renew(uint32_t position, int64_t value, uint32_t old_hits, uint32_t new_hits) {
  Entry& entry = entries_.find(value)->second;
  entry.observations += uint64_t{new_hits};
  entry.observations -= old_hits;
  if (entry.newest == position) return;
  Unlink(position, &entry);
  Link(position, &entry);
}

void ValueIndex::Link(uint32_t position, Entry* entry) {
  older_[position] = entry->newest;
  newer_[position] = kNone;
  if (entry->newest != kNone) newer_[entry->newest] = position;
  entry->newest = position;
  entries_touched_ += 2;
}

void ValueIndex::Unlink(uint32_t position, Entry* entry) {
  const uint32_t newer = newer_[position];
  const uint32_t older = older_[position];
  (newer == kNone ? entry->newest : older_[newer]) = older;
  if (older != kNone) newer_[older] = newer;
  entries_touched_ += 3;
}

void ValueIndex::Clear() {
  absl::flat_hash_map<int64_t, Entry>().swap(entries_);
  older_.Rezero();
  newer_.Rezero();
}

ValueIndex::Entry ValueIndex::Find(int64_t value) const {
  const auto it = entries_.find(value);
  return it == entries_.end() ? Entry{} : it->second;
}

uint64_t ValueIndex::MemoryBytes() const {
  return entries_.capacity() * kEntryBytes + older_.bytes() + newer_.bytes();
}

uint64_t ValueIndex::PlannedBytes(uint64_t capacity) {
  // Abseil's table has 2^k - 1 places. It doubles when it is 7/8 full, or when values come and go and more than 25/32
  // of it live; with fewer it is only tidied up.
  uint64_t places = 1;
  while (capacity > 0 && capacity * 32 > places * 25) places = 2 * places + 1;
  return (capacity > 0 ? places * kEntryBytes : 0) + 2 * sizeof(uint32_t) * capacity;
}

}  // namespace evoke
