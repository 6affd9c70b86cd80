#include "tests/simulation/simulated_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/payload_ring.h"

namespace evoke::testing {

// A store of one life. Fails closed after a failed commit, as slot_store.h promises.
class SimulatedStore final : public SlotStore {
 public:
  SimulatedStore(SimulatedDisk* disk, std::shared_ptr<Life> life, bool read_only)
      : disk_(disk), life_(std::move(life)), read_only_(read_only) {}

  absl::Status Commit(absl::Span<const TurnRecord* const> records) override {
    if (!Usable().ok()) return Usable();
    if (read_only_) return absl::FailedPreconditionError("opened for reading");
    for (const TurnRecord* record : records) {
      failed_ = disk_->Commit(*life_, *record);
      if (!failed_.ok()) return failed_;
    }
    return Usable();
  }
  Turn AppliedTurn() const override { return image().meta.turn; }
  absl::StatusOr<MetaRow> ReadMeta() const override {
    if (absl::Status s = Read(disk_->faults_.recovery); !s.ok()) return s;
    return image().meta;
  }
  absl::Status ScanPartition(Partition partition,
                             const std::function<absl::Status(const SlotRow&)>& visit) const override {
    if (absl::Status s = Read(disk_->faults_.recovery); !s.ok()) return s;
    for (const auto& [slot, w] : image().slots) {
      if (slot.value % disk_->options_.geometry.partitions != partition.value) continue;
      const SlotRow row{slot, w.value, w.written_step, w.hits, w.key};
      if (absl::Status s = visit(row); !s.ok()) return s;
    }
    return absl::OkStatus();
  }
  absl::Status ScanSessions(const std::function<absl::Status(const SessionRow&)>& visit) const override {
    if (absl::Status s = Read(disk_->faults_.recovery); !s.ok()) return s;
    for (const auto& [id, row] : image().sessions.rows()) {
      if (absl::Status s = visit(row); !s.ok()) return s;
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadReply(const SessionId& session, uint64_t number) const override {
    if (absl::Status s = Read(disk_->faults_.reads); !s.ok()) return s;
    const auto it = image().replies.find({session, number});
    if (it == image().replies.end()) return absl::NotFoundError(absl::StrCat("reply ", number));
    return it->second;
  }
  absl::Status ReadPayloads(absl::Span<SlotPayloads> slots) const override {
    if (absl::Status s = Read(disk_->faults_.reads); !s.ok()) return s;
    for (SlotPayloads& slot : slots) {
      slot.payloads.clear();
      for (const uint16_t place : ValidPlaces(slot.hits, disk_->options_.geometry.limits.payload_history)) {
        const auto it = image().places.find({slot.slot, place});
        if (it == image().places.end()) {
          return absl::DataLossError(absl::StrCat("payload of slot ", slot.slot.value, " is missing"));
        }
        if (!it->second.bytes.empty()) slot.payloads.push_back({it->second.step, it->second.bytes});
      }
      std::sort(slot.payloads.begin(), slot.payloads.end(),
                [](const Payload& a, const Payload& b) { return a.step < b.step; });
    }
    return absl::OkStatus();
  }
  absl::Status ReadRecords(Turn from,
                           const std::function<absl::Status(const DecodedTurn&)>& visit) const override {
    if (from < FirstKeptTurn()) return absl::OutOfRangeError("no longer kept");
    for (auto it = image().records.lower_bound(from); it != image().records.end(); ++it) {
      absl::StatusOr<DecodedTurn> turn = DecodeTurnRecord(it->second);
      if (!turn.ok()) return turn.status();
      if (absl::Status s = visit(*turn); !s.ok()) return s;
    }
    return absl::OkStatus();
  }
  Turn FirstKeptTurn() const override { return image().window.first(); }
  absl::Status TruncateRecordsBefore(Turn turn) override {
    if (life_->alive) disk_->written_.DropRecordsBefore(turn);
    return absl::OkStatus();
  }
  absl::StatusOr<Turn> Checkpoint(const std::string&) override {
    return absl::UnimplementedError("a simulated disk");
  }
  uint64_t ApproximateBytes() const override { return image().slots.size(); }

 private:
  const StoreImage& image() const { return disk_->written_; }
  absl::Status Usable() const {
    if (!life_->alive) return absl::UnavailableError("the process is dead");
    return failed_;
  }
  absl::Status Read(int fault_percent) const {
    if (!Usable().ok()) return Usable();
    if (!disk_->world_->bits().Percent(fault_percent)) return absl::OkStatus();
    disk_->world_->Note("a read fails");
    return disk_->world_->bits().Percent(50) ? absl::DataLossError("injected: a damaged row")
                                             : absl::UnavailableError("injected: a read failed");
  }

  SimulatedDisk* const disk_;
  const std::shared_ptr<Life> life_;
  const bool read_only_;
  absl::Status failed_;
};

SimulatedDisk::SimulatedDisk(Options options, VirtualWorld* world, Written written)
    : options_(std::move(options)), world_(world), on_written_(std::move(written)) {
  written_.meta = {.uid = options_.uid, .spec_digest = options_.spec_digest};
  durable_.meta = written_.meta;
}

absl::StatusOr<std::unique_ptr<SlotStore>> SimulatedDisk::Open(std::shared_ptr<Life> life, bool read_only) {
  if (!life->alive) return absl::UnavailableError("the process is dead");
  if (faults_.unreachable) return absl::UnavailableError("injected: the disk does not answer");
  if (faults_.read_only && !read_only) return absl::UnavailableError("injected: no space");
  if (!read_only) Sync();
  return std::make_unique<SimulatedStore>(this, std::move(life), read_only);
}

absl::Status SimulatedDisk::Commit(const Life& life, const TurnRecord& record) {
  enum Fault { kNone, kBefore, kAfter, kUnsynced };
  const Fault fault = world_->bits().Percent(faults_.commits)
                          ? static_cast<Fault>(1 + world_->bits().Below(3))
                      : faults_.read_only ? kBefore
                                          : kNone;
  if (fault != kNone) {
    ++failed_commits_;
    world_->Note(
        absl::StrCat("commit of turn ", record.turn.value, " fails, kind ", static_cast<int>(fault)));
  }
  life.at("commit not written");
  if (!life.alive) return absl::UnavailableError("died before the commit was written");
  if (fault == kBefore) return absl::UnavailableError("injected: failed before it wrote");
  if (absl::Status s = written_.Apply(options_.geometry, record); !s.ok()) {
    ADD_FAILURE() << "no store takes this turn: " << s;
    return s;
  }
  unsynced_.push_back(record);
  on_written_(record);
  life.at("commit written");
  if (!life.alive) return absl::UnavailableError("died before the commit was synced");
  if (fault == kUnsynced) return absl::UnavailableError("injected: the sync failed");
  if (options_.fsync) Sync();
  life.at("commit synced");
  if (fault == kAfter) return absl::UnavailableError("injected: failed after it wrote");
  return absl::OkStatus();
}

void SimulatedDisk::Sync() {
  for (const TurnRecord& record : unsynced_) EXPECT_TRUE(durable_.Apply(options_.geometry, record).ok());
  unsynced_.clear();
}

Turn SimulatedDisk::LosePower() {
  const uint64_t kept = world_->bits().Below(unsynced_.size() + 1);
  unsynced_.resize(kept);
  Sync();
  written_ = durable_;
  return written_.meta.turn;
}

}  // namespace evoke::testing
