#include "server/memory/age_order.h"

namespace evoke {

void AgeOrder::PushBack(uint32_t position) {
  next_[position] = kNone;
  previous_[position] = tail_;
  (tail_ == kNone ? head_ : next_[tail_]) = position;
  tail_ = position;
  entries_touched_ += 2;
}

void AgeOrder::Remove(uint32_t position) {
  const uint32_t before = previous_[position];
  const uint32_t after = next_[position];
  (before == kNone ? head_ : next_[before]) = after;
  (after == kNone ? tail_ : previous_[after]) = before;
  entries_touched_ += 3;
}

void AgeOrder::MoveToBack(uint32_t position) {
  if (position == tail_) return;
  Remove(position);
  PushBack(position);
}

void AgeOrder::Clear() {
  next_.Rezero();
  previous_.Rezero();
  head_ = tail_ = kNone;
}

}  // namespace evoke
