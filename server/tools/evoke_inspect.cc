#include "server/tools/evoke_inspect.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/memory/state_hash.h"

namespace evoke {
namespace {

const char* NameOf(WriteKind kind) {
  constexpr const char* kNames[] = {"?", "hit", "merged", "folded", "free", "evict", "import"};
  return kNames[static_cast<int>(kind)];
}

const char* NameOf(SessionOp::Kind kind) {
  constexpr const char* kNames[] = {"?", "open", "outcome", "acknowledge", "forget"};
  return kNames[static_cast<int>(kind)];
}

absl::Status Differs(std::string_view what, std::string_view found, std::string_view meta) {
  return absl::DataLossError(absl::StrCat(std::string(what), " is ", std::string(found), ", the meta row says ",
                                          std::string(meta)));
}

}  // namespace

absl::Status PrintSlots(const InspectedMemory& memory, const SlotStore& store, uint64_t limit, std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store.ReadMeta());
  out << absl::StrFormat("%10s %20s %12s %12s %8s  %s\n", "slot", "value", "written", "age", "hits", "key");
  uint64_t printed = 0;
  for (uint32_t p = 0; p < memory.spec.partitions && printed < limit; ++p) {
    EVOKE_RETURN_IF_ERROR(store.ScanPartition(Partition(p), [&](const SlotRow& row) {
      if (printed++ >= limit) return absl::OkStatus();
      out << absl::StrFormat("%10u %20d %12u %12u %8u  [", row.slot.value, row.value, row.written_step.value,
                             meta.step.value - row.written_step.value, row.hits);
      for (size_t e = 0; e < std::min<size_t>(row.key.size(), 4); ++e) out << absl::StrFormat("%s%.4f", e ? " " : "", row.key[e]);
      out << (row.key.size() > 4 ? " ...]\n" : "]\n");
      return absl::OkStatus();
    }));
  }
  return absl::OkStatus();
}

absl::Status PrintRecords(const SlotStore& store, Turn from, bool verbose, std::ostream& out) {
  if (from.value == 0) from = store.FirstKeptTurn();
  return store.ReadRecords(from, [&](const DecodedTurn& turn) {
    const TurnRecord& r = turn.record;
    out << absl::StrFormat("turn %u epoch %u step %u -> %u writes %u live %u hash %s chain %s%s\n", r.turn.value,
                           r.epoch.value, r.step_before.value, r.step_after.value, r.writes.size(), r.live_after,
                           r.state_hash.ToString(), turn.chain.ToString(), r.admin == AdminOp::kClear ? " CLEAR" : "");
    if (!verbose) return absl::OkStatus();
    for (const SlotWrite& w : r.writes) {
      out << absl::StrFormat("  %-6s slot %u value %d step %u hits %u payload rows %u\n", NameOf(w.kind), w.slot.value,
                             w.value, w.written_step.value, w.hits, w.payloads.size());
    }
    for (const SessionOp& op : r.sessions) {
      out << absl::StrFormat("  session %s %s number %u reply %u bytes\n", op.session.ToString(), NameOf(op.kind),
                             op.number, op.reply.size());
    }
    return absl::OkStatus();
  });
}

absl::Status CheckStore(const InspectedMemory& memory, const SlotStore& store, std::ostream& out) {
  EVOKE_ASSIGN_OR_RETURN(const MetaRow meta, store.ReadMeta());
  Hash128 sum;
  uint64_t live = 0;
  for (uint32_t p = 0; p < memory.spec.partitions; ++p) {
    EVOKE_RETURN_IF_ERROR(store.ScanPartition(Partition(p), [&](const SlotRow& row) {
      sum += SlotHash(row.slot.value, row.value, row.written_step.value, row.hits, row.key);
      ++live;
      return absl::OkStatus();
    }));
  }
  if (live != meta.live_count) return Differs("the count of slot rows", absl::StrCat(live), absl::StrCat(meta.live_count));
  if (sum != meta.state_hash) return Differs("the hash of the slot rows", sum.ToString(), meta.state_hash.ToString());

  const Turn first = store.FirstKeptTurn();
  uint64_t records = 0;
  Hash128 chain;
  EVOKE_RETURN_IF_ERROR(store.ReadRecords(first, [&](const DecodedTurn& turn) {
    if (turn.record.turn != Turn(first.value + records) || (records > 0 && turn.record.previous_chain != chain)) {
      return absl::DataLossError(absl::StrCat("record of turn ", turn.record.turn.value, " does not follow turn ",
                                              first.value + records - 1));
    }
    chain = turn.chain;
    ++records;
    return absl::OkStatus();
  }));
  if (records > 0 && chain != meta.chain) return Differs("the chain of the records", chain.ToString(), meta.chain.ToString());
  out << absl::StrFormat("memory \"%s\": %u slots, hash %s, step %u, turn %u; %u records from turn %u in one chain: OK\n",
                         memory.name, live, sum.ToString(), meta.step.value, meta.turn.value, records, first.value);
  return absl::OkStatus();
}

}  // namespace evoke
