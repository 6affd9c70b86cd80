#include "tests/simulation/virtual_world.h"

#include <xxhash.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace evoke::testing {

absl::Duration VirtualWorld::RandomDelay(absl::Duration most) {
  // Squared, so that short ones are common and long ones possible.
  const double share = static_cast<double>(bits_.Below(1001)) / 1000;
  return most * share * share;
}

VirtualWorld::Work VirtualWorld::Take(size_t index) {
  std::swap(queue_[index], queue_.back());
  Piece piece = std::move(queue_.back());
  queue_.pop_back();
  Fold(piece.id);
  ++pieces_run_;
  return std::move(piece.work);
}

bool VirtualWorld::RunOne() {
  if (queue_.empty()) return false;
  absl::Time earliest = absl::InfiniteFuture();
  for (const Piece& piece : queue_) earliest = std::min(earliest, piece.when);
  now_ = std::max(now_, earliest);
  std::vector<size_t> due;
  for (size_t i = 0; i < queue_.size(); ++i) {
    if (queue_[i].when <= now_) due.push_back(i);
  }
  Take(due[bits_.Below(due.size())])();
  return true;
}

void VirtualWorld::RunAllOf(Owner owner) {
  while (true) {
    size_t next = queue_.size();
    for (size_t i = 0; i < queue_.size(); ++i) {
      if (queue_[i].owner == owner && (next == queue_.size() || queue_[i].id < queue_[next].id)) next = i;
    }
    if (next == queue_.size()) return;
    Take(next)();
  }
}

void VirtualWorld::Drop(Owner owner) {
  // Destroyed after the queue is whole again: what work holds may reach back here.
  std::vector<Piece> dropped;
  for (size_t i = 0; i < queue_.size();) {
    if (queue_[i].owner != owner) {
      ++i;
      continue;
    }
    std::swap(queue_[i], queue_.back());
    dropped.push_back(std::move(queue_.back()));
    queue_.pop_back();
  }
}

void VirtualWorld::Fold(uint64_t number) {
  trace_ = XXH3_64bits_withSeed(&number, sizeof number, trace_);
}

void VirtualWorld::Note(const std::string& what) {
  constexpr size_t kKept = 60;
  trace_ = XXH3_64bits_withSeed(what.data(), what.size(), trace_);
  notes_.push_back(
      absl::StrCat(absl::ToInt64Milliseconds(now_ - absl::FromUnixSeconds(1'000'000)), " ms  ", what));
  if (notes_.size() > kKept) notes_.pop_front();
}

std::string VirtualWorld::Story() const {
  std::string story;
  for (const std::string& note : notes_) absl::StrAppend(&story, note, "\n");
  return story;
}

}  // namespace evoke::testing
