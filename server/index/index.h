// Candidates for the nearest keys of a row, with a proof of what was left out.
//
// An index only proposes; similarities that leave the shard are canonical (server/similarity). An *exact* index
// returns, for each row, its best `want` keys in canonical order and a bound that certifies them: it widens, or falls
// back to the canonical scan, until the last wanted canonical similarity exceeds what it can say of the rest.
// Approximate indexes answer UNPROVEN instead.
//
// Keys live once, in the shard's key matrix; an index reads them through KeyMatrixView (FAISS keeps a copy of its
// own). Positions are the shard's local ones, ascending in slot id, so that ties break alike.
//
// Threads: one call at a time (the shard's); Search may fan out over `Parallel` inside the call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/similarity/rank.h"
#include "server/similarity/split_vector.h"

namespace evoke {

// The shard's keys, [rows, dim] float32 row-major in two planes; the high one may be read for 64 components beyond the
// end of any row. Rows that are not live are to be passed over (they hold numbers, of nobody's); `live` is a bitmap of
// (rows + 63) / 64 words. Valid while the index lives; contents change only between calls.
struct KeyMatrixView {
  SplitMatrixView planes;
  uint32_t dim = 0;
  uint32_t rows = 0;             // positions 0 .. rows - 1 may be live
  const uint64_t* live = nullptr;
  uint64_t live_count = 0;
  SplitVector row(uint32_t position) const { return planes.row(position); }
  bool IsLive(uint32_t position) const { return live[position >> 6] >> (position & 63) & 1; }
};

// A key proposed for a row. In a Rank, `slot` is the local position here.
struct Candidate {
  uint32_t position = 0;
  float similarity = 0;  // canonical
};

struct SearchResult {
  // At most `want` candidates in canonical order (local position breaks ties).
  std::vector<Candidate> candidates;
  // Of the live keys that are not in `candidates`.
  enum class Bound : uint8_t { kComplete, kLast, kUnproven } bound = Bound::kComplete;
  // kComplete: there are none. kLast: each comes after the last candidate. kUnproven: nothing is known.
};

// Counted since Create.
struct IndexStats {
  uint64_t uncertified_rows = 0;  // rows that had to be searched again, wider or by the canonical scan
  uint64_t scanned_rows = 0;      // rows x keys that the canonical scan visited, over all calls
};

// What an index has on a device.
struct DeviceUse {
  int device = -1;     // as the driver numbers them; -1: none
  uint64_t bytes = 0;  // allocated
};

// Runs body(0) .. body(count - 1), in any order and on any threads, and returns when all are done.
using Parallel = std::function<void(size_t count, const std::function<void(size_t)>& body)>;

class Index {
 public:
  virtual ~Index() = default;

  // `rows`: [n, dim] unit norm, row-major; want[i] >= 1 candidates for row i. Returns n results.
  virtual std::vector<SearchResult> Search(const KeyMatrixView& keys, const float* rows,
                                           absl::Span<const uint32_t> want) = 0;

  // The keys at these positions changed or became live; `keys` already holds the new ones.
  virtual void Upsert(const KeyMatrixView& keys, absl::Span<const uint32_t> positions) = 0;
  // These positions are live no more.
  virtual void Erase(absl::Span<const uint32_t> positions) = 0;
  // Forgets everything and takes the live keys of `keys` anew (Clear, recovery).
  virtual void Rebuild(const KeyMatrixView& keys) = 0;

  // Of these positions, those that the index holds otherwise than `keys` has them: a key with other bits, or one that
  // is live no more. Upsert and Erase make them right. Approximate indexes say what they can of their own copies.
  virtual std::vector<uint32_t> Verify(const KeyMatrixView&, absl::Span<const uint32_t>) const { return {}; }

  virtual bool exact() const = 0;
  virtual std::string_view name() const = 0;  // as in the configuration: "flat", "faiss_flat"
  virtual uint64_t MemoryBytes() const = 0;   // own allocations, without the shard's key matrix
  virtual IndexStats stats() const = 0;
  virtual DeviceUse device() const { return {}; }
  // Why it answers otherwise than its name says: slower, with the same bits. Empty: it does not. Valid until the next call.
  virtual std::string_view degraded() const { return {}; }
};

}  // namespace evoke
