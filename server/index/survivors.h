// What a scan keeps for one row: candidates whose rough score may still be within reach of the best `want`.
//
// A pool that is cut when it is full: the want-th best score seen so far, less a margin, is from then on the least that is
// kept. Amortised O(1) a candidate. Thread-compatible.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace evoke {

// The greatest float32 that is at most `score - margin`.
inline float Below(float score, double margin) {
  const double exact = double{score} - margin;
  const auto rounded = static_cast<float>(exact);
  return double{rounded} > exact ? std::nextafter(rounded, -std::numeric_limits<float>::infinity()) : rounded;
}

class Survivors {
 public:
  struct Item {
    float score;
    uint32_t position;
  };

  void Begin(uint32_t want, double margin, float least, size_t most) {
    want_ = want;
    margin_ = margin;
    least_ = least;
    most_ = most;
    limit_ = std::min<size_t>(most, size_t{want} * 2 + 64);
    overflowed_ = false;
    items_.clear();
    items_.reserve(limit_);
  }

  // What scores below cannot matter, given what this row's pool has seen.
  float least() const { return least_; }
  // Returns true when least() rose, to what is true of all keys: tell others.
  bool Push(Item item) {
    items_.push_back(item);
    return items_.size() >= limit_ && Cut();
  }
  // More candidates within the margin than may be held.
  bool overflowed() const { return overflowed_; }
  const std::vector<Item>& items() const { return items_; }

 private:
  bool Cut() {
    std::nth_element(items_.begin(), items_.begin() + (want_ - 1), items_.end(),
                     [](const Item& a, const Item& b) { return a.score > b.score; });
    const float least = Below(items_[want_ - 1].score, margin_);
    const bool rose = least > least_;
    if (rose) {
      least_ = least;
      std::erase_if(items_, [this](const Item& item) { return item.score < least_; });
    }
    // Doubled while it is more than half full, so that cuts stay rare.
    while (limit_ < 2 * items_.size() && limit_ < most_) limit_ = std::min(most_, 2 * limit_);
    if (items_.size() >= most_ / 2 && limit_ >= most_) {
      overflowed_ = true;
      least_ = std::numeric_limits<float>::infinity();
      items_.clear();
      return false;
    }
    return rose;
  }

  uint32_t want_ = 0;
  double margin_ = 0;
  float least_ = 0;
  size_t most_ = 0;
  size_t limit_ = 0;
  bool overflowed_ = false;
  std::vector<Item> items_;
};

}  // namespace evoke
