#include "tests/simulation/simulated_server.h"

#include <gtest/gtest.h>

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke::testing {

class SimulatedServer::ProcessScheduler final : public Scheduler {
 public:
  ProcessScheduler(VirtualWorld* world, VirtualWorld::Owner owner, absl::Duration most)
      : world_(world), owner_(owner), most_(most) {}
  void Post(Work work) override {
    // Mostly at once, in any order with what else is due; now and then late, and rarely very late.
    const uint64_t luck = world_->bits().Below(100);
    const absl::Duration most = luck < 70 ? absl::ZeroDuration() : luck < 99 ? most_ : most_ * 50;
    world_->After(world_->RandomDelay(most), std::move(work), owner_);
  }

 private:
  VirtualWorld* const world_;
  const VirtualWorld::Owner owner_;
  const absl::Duration most_;
};

class SimulatedServer::ProcessClock final : public Clock {
 public:
  ProcessClock(VirtualWorld* world, VirtualWorld::Owner owner) : world_(world), owner_(owner) {}
  absl::Time Now() override { return world_->now(); }
  void RunAt(absl::Time when, std::function<void()> work) override {
    world_->At(when, std::move(work), owner_);
  }

 private:
  VirtualWorld* const world_;
  const VirtualWorld::Owner owner_;
};

struct SimulatedServer::Process {
  Process(const Options& o, VirtualWorld* world, VirtualWorld::Owner owner)
      : work_owner(owner),
        timer_owner(owner + 1),
        compute(world, work_owner, o.compute_delay),
        io(world, work_owner, o.io_delay),
        clock(world, timer_owner) {}
  const VirtualWorld::Owner work_owner, timer_owner;
  ProcessScheduler compute, io;
  ProcessClock clock;
};

SimulatedServer::SimulatedServer(Options options, VirtualWorld* world, SimulatedDisk* disk, History* history)
    : options_(std::move(options)),
      world_(world),
      disk_(disk),
      history_(history),
      judge_(world, disk, history, options_.spec.key_dim) {}

SimulatedServer::~SimulatedServer() {
  if (process_) life_->alive = false;
  Settle();
}

// --- lives -------------------------------------------------------------------------------------------------

void SimulatedServer::Start(const EngineOptions& engine) {
  world_->Note(absl::StrCat("start, shards ", engine.shards, ", lag ", engine.apply_lag_turns, ", in flight ",
                            engine.turns_in_flight));
  process_ = std::make_unique<Process>(options_, world_, next_owner_);
  life_ = std::make_shared<Life>();
  next_owner_ += 2;
  unanswered_ = 0;
  stopped_ = power_fails_ = false;
  judge_.Started(engine.turns_in_flight);
  const std::shared_ptr<Life> life = life_;
  life->at = [this, life = life.get()](const char* where) {
    // A turn in forty fails: there death comes as often as at the other edges taken together.
    const uint64_t deaths = options_.deaths_per_10000 * (std::string_view(where) == "failed" ? 20 : 1);
    if (!life->alive || world_->bits().Below(10000) >= deaths) return;
    Kill(where, /*power_fails=*/world_->bits().Percent(25));
  };
  EngineOptions options = engine;
  options.at_edge = [this, life](TurnEdge edge) {
    if (edge == TurnEdge::kAdmitted && life->alive) judge_.TurnBegan();
    life->at(kPlacesOfDeath[static_cast<int>(edge)]);
  };
  executor_ = MemoryExecutor::Create({.name = "simulated",
                                      .uid = options_.uid,
                                      .spec = options_.spec,
                                      .engine = std::move(options),
                                      .compute = &process_->compute,
                                      .io = &process_->io,
                                      .clock = &process_->clock,
                                      .cores = 1 + world_->bits().Below(4),
                                      .always_overlap = world_->bits().Percent(70),
                                      .open_store =
                                          [this, life](bool read_only) {
                                            life->at("opening the store");
                                            return disk_->Open(life, read_only);
                                          },
                                      .on_state_change =
                                          [this, life] {
                                            if (life->alive) StateChanged();
                                          }});
  // As the catalog does: the memory refuses while it loads.
  process_->io.Post([executor = executor_] { executor->Recover(); });
}

void SimulatedServer::StateChanged() {
  const MemoryFigures figures = executor_->figures();
  world_->Note(absl::StrCat("state ", static_cast<int>(figures.state), " at turn ", figures.turn.value));
  const bool recovered = figures.state != MemoryState::kFailed && figures.state != MemoryState::kLoading;
  if (recovered) judge_.Recovered(figures);
}

void SimulatedServer::Kill(const char* why, bool power_fails) {
  if (!process_ || !life_->alive) return;
  world_->Note(absl::StrCat(power_fails ? "power fails: " : "killed: ", why));
  life_->alive = false;
  power_fails_ = power_fails;
  ++deaths_[why];
}

void SimulatedServer::ShutDown() {
  if (!process_ || !life_->alive || stopped_) return;
  world_->Note("shutting down");
  stopped_ = true;
  judge_.set_stopping(true);
  executor_->StopMutations();
  world_->After(world_->RandomDelay(absl::Milliseconds(500)), [this, life = life_] {
    if (!life->alive) return;
    const absl::Status why = MakeError(absl::StatusCode::kUnavailable, "closed", {.reason = "DRAINING"});
    executor_->Close(why, [this, life] {
      if (!life->alive) return;
      EXPECT_EQ(unanswered_, 0u) << "closed with calls that nobody answered";
      world_->Note("shut down");
      life->alive = false;
    });
  });
}

void SimulatedServer::Settle() {
  if (process_ && !life_->alive) Bury();
}

void SimulatedServer::Bury() {
  const std::weak_ptr<MemoryExecutor> executor = executor_;
  world_->RunAllOf(process_->work_owner);
  executor_.reset();
  world_->RunAllOf(process_->work_owner);
  world_->Drop(process_->timer_owner);
  EXPECT_TRUE(executor.expired()) << "something holds the memory for ever";
  life_->at = nullptr;
  process_.reset();
  if (power_fails_) {
    const Turn left = disk_->LosePower();
    world_->Note(absl::StrCat("turn ", left.value, " is left of ", history_->turn()));
    lost_turns_ += history_->turn() - left.value;
    history_->Truncate(left.value);
  }
}

}  // namespace evoke::testing
