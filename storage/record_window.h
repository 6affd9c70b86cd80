// Which turn records are kept: the latest ones, by count and by bytes.
//
// The window is cut in at most about 16 chunks, and whole chunks are dropped: so neither opening a store nor
// dropping records reads any of them, and the window fits into the meta row. What is kept therefore lies
// between 15/16 of the tighter limit and the limit. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "storage/ids.h"

namespace evoke {

class RecordWindow {
 public:
  struct Limits {
    uint64_t count = 0;  // 0: nothing is kept
    uint64_t bytes = 0;
  };
  // Turns from `first` to the next chunk's first, or to next().
  struct Chunk {
    Turn first;
    uint64_t bytes = 0;
    friend bool operator==(const Chunk&, const Chunk&) = default;
  };

  // Empty; `next` is the turn that will be added first.
  explicit RecordWindow(Turn next = Turn(1)) : next_(next) {}
  RecordWindow(std::vector<Chunk> chunks, Turn next) : chunks_(std::move(chunks)), next_(next) {}

  // The next turn; then drops whole chunks from the old end until the limits hold.
  void Add(uint64_t bytes, const Limits& limits) {
    const Turn turn = next_;
    next_ = turn.Next();
    const bool full = chunks_.empty() || turn.value - chunks_.back().first.value >= limits.count / 16 ||
                      chunks_.back().bytes >= limits.bytes / 16;
    if (full) chunks_.push_back({.first = turn});
    chunks_.back().bytes += bytes;
    uint64_t total = 0;
    for (const Chunk& chunk : chunks_) total += chunk.bytes;
    size_t dropped = 0;
    while (dropped < chunks_.size() &&
           (next_.value - chunks_[dropped].first.value > limits.count || total > limits.bytes)) {
      total -= chunks_[dropped++].bytes;
    }
    chunks_.erase(chunks_.begin(), chunks_.begin() + dropped);
  }

  // Drops the turns before `turn`. The bytes of a chunk that is cut are counted whole until it is dropped.
  void CutBefore(Turn turn) {
    size_t dropped = 0;
    while (dropped < chunks_.size() && End(dropped) <= turn) ++dropped;
    chunks_.erase(chunks_.begin(), chunks_.begin() + dropped);
    if (!chunks_.empty() && chunks_.front().first < turn) chunks_.front().first = turn;
  }

  // The first kept turn; next() when none is.
  Turn first() const { return chunks_.empty() ? next_ : chunks_.front().first; }
  Turn next() const { return next_; }
  const std::vector<Chunk>& chunks() const { return chunks_; }

 private:
  Turn End(size_t chunk) const { return chunk + 1 < chunks_.size() ? chunks_[chunk + 1].first : next_; }

  std::vector<Chunk> chunks_;
  Turn next_;
};

}  // namespace evoke
