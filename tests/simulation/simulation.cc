#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace evoke::testing {
namespace {

const MemoryUid kUid = MemoryUid::FromView("simulated-memory");

// A run that has not come to its end by then never will: a usual one needs a tenth.
constexpr uint64_t kMostPieces = 1'000'000;

}  // namespace

Simulation::Simulation(uint64_t seed) : seed_(seed), world_(seed) {
  ChooseMemory();
  ChooseFaults();
  history_ =
      std::make_unique<History>(History::Options{.model = model_,
                                                 .spec = spec_,
                                                 .uid = kUid,
                                                 .sessions = {.sessions = limits_.max_sessions,
                                                              .unacknowledged = limits_.max_unacknowledged,
                                                              .reply_bytes = limits_.max_reply_bytes}});
  RandomBits& bits = world_.bits();
  const RecordWindow::Limits records{.count = OneOf<uint64_t>(bits, {0, 16, 40, 100'000}),
                                     .bytes = OneOf<uint64_t>(bits, {20'000, 1 << 30})};
  disk_ = std::make_unique<SimulatedDisk>(
      SimulatedDisk::Options{
          .uid = kUid,
          .spec_digest = SpecDigest(spec_),
          .fsync = spec_.durability == SpecDurability::kFsync,
          .geometry = {.partitions = spec_.partitions,
                       .limits = {.key_dim = spec_.key_dim, .payload_history = spec_.payload_history},
                       .records = records}},
      &world_, [this](const TurnRecord& record) {
        world_.Note(absl::StrCat("turn ", record.turn.value, " is written, step ", record.step_after.value));
        history_->Written(record);
      });
  disk_->faults() = usual_faults_;
  server_ = std::make_unique<SimulatedServer>(
      SimulatedServer::Options{.spec = spec_,
                               .uid = kUid,
                               .deaths_per_10000 = deaths_per_10000_,
                               .compute_delay = absl::Microseconds(OneOf<int>(bits, {0, 100, 3000})),
                               .io_delay = absl::Milliseconds(OneOf<int>(bits, {1, 10, 50}))},
      &world_, disk_.get(), history_.get());
  AddTrainers();
}

// --- the run -----------------------------------------------------------------------------------------------

void Simulation::Restart() {
  if (!server_->running()) server_->Start(ChooseEngine());
}

void Simulation::Fate() {
  if (peace_) return;
  RandomBits& bits = world_.bits();
  world_.After(world_.RandomDelay(absl::Seconds(3)), [this] { Fate(); });
  SimulatedDisk::Faults& faults = disk_->faults();
  const bool ill = faults.read_only || faults.unreachable;
  if (!server_->running()) {
    Restart();
  } else if (server_->state() == MemoryState::kReadOnly || server_->state() == MemoryState::kFailed) {
    // Somebody looks after it: the disk is mended, and the process started again.
    if (!bits.Percent(40)) return;
    faults = usual_faults_;
    bits.Percent(50) ? server_->ShutDown() : server_->Kill("restarted", false);
  } else if (ill && bits.Percent(50)) {
    faults = usual_faults_;
  } else if (bits.Percent(calamity_percent_)) {
    switch (bits.Below(6)) {
      case 0:
        return server_->Kill("fate", false);
      case 1:
        return server_->Kill("fate", true);
      case 2:
        return server_->ShutDown();
      case 3:
        faults.read_only = true;
        return world_.Note("the disk refuses writes");
      case 4:
        faults.unreachable = true;
        return world_.Note("the disk cannot be opened");
      default:
        disk_->Sync();
    }
  }
}

bool Simulation::Step() {
  if (deaths_per_10000_ > 0 && !peace_ &&
      world_.bits().Below(10'000) < static_cast<uint64_t>(deaths_per_10000_) / 2) {
    server_->Kill("between two pieces of work", world_.bits().Percent(25));
    server_->Settle();
  }
  if (!world_.RunOne()) return false;
  server_->Settle();
  EXPECT_LT(world_.pieces_run(), kMostPieces) << "comes to no end";
  return !::testing::Test::HasFailure();
}

void Simulation::Run() {
  Restart();
  for (auto& trainer : trainers_) trainer->Begin();
  Fate();
  // A run whose clients get nowhere (a tiny mailbox, say) is one as well, and ends.
  while (history_->turn() < target_turns_ && world_.pieces_run() < kMostPieces / 10) {
    if (!Step()) return;
  }
  Settle();
}

void Simulation::Settle() {
  world_.Note("peace");
  peace_ = true;
  disk_->faults() = {};
  server_->set_deaths_per_10000(0);
  if (server_->running() && server_->state() != MemoryState::kServing) server_->Kill("restarted", false);
  server_->Settle();
  for (auto& trainer : trainers_) trainer->Finish();
  const auto idle = [&] {
    return server_->running() && server_->unanswered() == 0 &&
           std::all_of(trainers_.begin(), trainers_.end(), [](const auto& t) { return t->idle(); });
  };
  while (!idle()) {
    // Also after an orderly end that was under way.
    if (!server_->running()) server_->Start(ChooseEngine());
    if (!Step()) break;
  }
  EXPECT_TRUE(idle()) << "somebody waits for an answer that never comes";
  if (::testing::Test::HasFailure()) return;
  history_->CheckRecords(disk_->written());

  // Once more, from what is durable, with nothing asked of it meanwhile.
  server_->ShutDown();
  while (server_->running()) {
    if (!Step()) return;
  }
  server_->Start(ChooseEngine());
  while (server_->state() == MemoryState::kLoading) {
    if (!Step()) return;
  }
  EXPECT_EQ(server_->state(), MemoryState::kServing);
  auto all = std::make_shared<Call>();
  all->read = Call::Read::kSlots;
  server_->Deliver(all, [](const Answer& answer) { EXPECT_TRUE(answer.status.ok()) << answer.status; });
  while (server_->unanswered() > 0) {
    if (!Step()) return;
  }
}

// --- what is told ------------------------------------------------------------------------------------------

Simulation::Totals Simulation::totals() const {
  Totals totals{.turns = history_->turn(),
                .failed_commits = disk_->failed_commits(),
                .lost_turns = server_->lost_turns(),
                .eras = history_->era(),
                .deaths = server_->deaths()};
  for (const auto& trainer : trainers_) {
    totals.mutations += trainer->counts().mutations;
    totals.retries += trainer->counts().retries;
    totals.reads += trainer->counts().reads;
    totals.refusals += trainer->counts().refusals;
  }
  return totals;
}

Simulation::Totals& Simulation::Totals::operator+=(const Totals& o) {
  turns += o.turns;
  mutations += o.mutations;
  retries += o.retries;
  reads += o.reads;
  refusals += o.refusals;
  for (const auto& [where, count] : o.deaths) deaths[where] += count;
  failed_commits += o.failed_commits;
  lost_turns += o.lost_turns;
  eras += o.eras;
  return *this;
}

std::string Simulation::Totals::ToString() const {
  uint64_t crashes = 0;
  for (const auto& [where, count] : deaths) crashes += count;
  return absl::StrCat(turns, " turns, ", mutations, " mutations, ", retries, " retries, ", refusals,
                      " refusals, ", reads, " reads, ", crashes, " crashes, ", failed_commits,
                      " failed commits, ", lost_turns, " turns lost, ", eras, " times acknowledged ones");
}

std::string Simulation::Story() const {
  std::string pending;
  for (const auto& trainer : trainers_) absl::StrAppend(&pending, trainer->Pending());
  return absl::StrCat(world_.Story(), SpecDifference(MemorySpec{}, spec_), "; ", trainers_.size(),
                      " trainers, ", limits_.max_sessions, " sessions, ", totals().ToString(),
                      "; pending: ", pending, "\n");
}

}  // namespace evoke::testing
