// The best of several lists of scored positions, each of another part of the keys: what falls away, or is in no part's list,
// scores at most what stays, as each full list's worst is at most the ask-th best of all. Thread-compatible.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace evoke {

class ListMerger {
 public:
  ListMerger(size_t count, uint32_t ask) : ask_(ask), best_(count) {}

  // [count, listed] scores, and positions from `first` on; what was not found may stand in a list (device_keys.h).
  void Add(const float* scores, const int64_t* positions, uint32_t listed, uint32_t first) {
    for (size_t row = 0; row < best_.size(); ++row) {
      std::vector<Entry>& best = best_[row];
      for (size_t i = row * listed; i < (row + 1) * listed; ++i) {
        if (positions[i] >= 0 && scores[i] > -FLT_MAX) best.push_back({scores[i], positions[i] + first});
      }
      if (best.size() <= ask_) continue;
      std::nth_element(best.begin(), best.begin() + (ask_ - 1), best.end(),
                       [](const Entry& a, const Entry& b) { return a.score > b.score; });
      best.resize(ask_);
    }
  }

  // [count, ask]: places that were not filled have position -1. Leaves nothing behind.
  void Take(std::vector<float>* scores, std::vector<int64_t>* positions) {
    scores->assign(best_.size() * ask_, -FLT_MAX);
    positions->assign(best_.size() * ask_, -1);
    for (size_t row = 0; row < best_.size(); ++row) {
      for (size_t i = 0; i < best_[row].size(); ++i) {
        (*scores)[row * ask_ + i] = best_[row][i].score;
        (*positions)[row * ask_ + i] = best_[row][i].position;
      }
    }
    best_.clear();
  }

 private:
  struct Entry {
    float score;
    int64_t position;
  };
  const uint32_t ask_;
  std::vector<std::vector<Entry>> best_;
};

}  // namespace evoke
