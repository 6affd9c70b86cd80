// What a seed decides before a run begins, and at every start of the server. Sizes are small, so that every
// corner is met often: memories that are full after a few batches, two sessions for twelve trainers, a
// mailbox of 16 rows.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "tests/simulation/simulation.h"
#include "tests/testing/engine_driver.h"
#include "tests/testing/twin_keys.h"

namespace evoke::testing {

void Simulation::ChooseMemory() {
  RandomBits& bits = world_.bits();
  model_ = {.key_dim = static_cast<int>(OneOf<uint64_t>(bits, {1, 2, 3 + bits.Below(8), 16, 17, 24})),
            .capacity = OneOf<uint64_t>(bits, {1, 2, 3 + bits.Below(6), 8 + bits.Below(24), 40}),
            .seed = bits.Next(),
            .choose_k = static_cast<int>(OneOf<uint64_t>(bits, {1, 3, 8, 64})),
            .sequential = bits.Percent(40),
            .payload_history = static_cast<int>(OneOf<uint64_t>(bits, {0, 1, 2, 4, 16}))};
  model_.age_noise = static_cast<uint32_t>(bits.Below(model_.capacity / 4 + 1));
  if (bits.Percent(40)) model_.merge_on_miss = OneOf<float>(bits, {-1.0f, 0.1f, 0.5f});
  if (bits.Percent(40)) model_.fold_misses = OneOf<float>(bits, {-1.0f, 0.2f, 0.7f});
  spec_ = ToServerSpec(model_);
  spec_.partitions = 1u << bits.Below(5);
  spec_.durability = bits.Percent(50) ? SpecDurability::kFsync : SpecDurability::kWal;
  EXPECT_TRUE(ValidateSpec(spec_).ok()) << ValidateSpec(spec_);

  limits_.max_sessions = OneOf<uint32_t>(bits, {2, 3, 6, 1024});
  limits_.max_unacknowledged = OneOf<uint32_t>(bits, {1, 2, 4, 16});
  limits_.max_reply_bytes = OneOf<uint64_t>(bits, {1'000, 20'000, 1 << 26});
}

void Simulation::ChooseFaults() {
  RandomBits& bits = world_.bits();
  target_turns_ = 150 + bits.Below(450);
  if (bits.Percent(10)) return;  // a peaceful one
  calamity_percent_ = OneOf<int>(bits, {0, 20, 60});
  deaths_per_10000_ = OneOf<int>(bits, {0, 2, 10, 40});
  usual_faults_ = {.commits = OneOf<int>(bits, {0, 1, 6}),
                   .reads = OneOf<int>(bits, {0, 2}),
                   .recovery = OneOf<int>(bits, {0, 0, 2})};
}

EngineOptions Simulation::ChooseEngine() {
  RandomBits& bits = world_.bits();
  EngineOptions engine = limits_;
  engine.shards = static_cast<uint32_t>(bits.Below(9));
  engine.max_turn_rows = OneOf<uint32_t>(bits, {1, 8, 64, 4096});
  engine.mailbox_rows = OneOf<uint64_t>(bits, {16, 64, 65536});
  engine.ask_one_at_a_time = bits.Percent(25);
  engine.turns_in_flight = OneOf<uint32_t>(bits, {1, 2, 2, 3, 8});
  engine.apply_lag_turns = bits.Percent(30) ? static_cast<uint32_t>(1 + bits.Below(3)) : 0;
  if (bits.Percent(25)) {  // on devices, some of which are lost at some call
    const auto faults = std::make_shared<TwinFaults>();
    if (bits.Percent(60)) faults->lost_from_call = static_cast<int>(bits.Below(300));
    engine.index = bits.Percent(50) ? "faiss_gpu" : "faiss_gpu_f16";
    engine.gpu_devices = {0, 1};
    engine.make_device = TwinDevices(faults);
  }
  return engine;
}

void Simulation::AddTrainers() {
  RandomBits& bits = world_.bits();
  const uint64_t count = 2 + bits.Below(11);
  for (uint64_t id = 1; id <= count; ++id) {
    Trainer::Options options{.id = id,
                             .log = {.seed = bits.Next(),
                                     .key_dim = model_.key_dim,
                                     .capacity = model_.capacity,
                                     .value_count = static_cast<int>(2 + bits.Below(6)),
                                     .max_rows = static_cast<int>(1 + bits.Below(8))},
                             .window = OneOf<size_t>(bits, {1, 2, 3, 16}),
                             .stream = bits.Percent(40),
                             .think = absl::Milliseconds(OneOf<int>(bits, {20, 200, 2000})),
                             .patience = absl::Milliseconds(OneOf<int>(bits, {30, 300, 3000})),
                             .read_percent = OneOf<int>(bits, {0, 30, 60}),
                             .probe_percent = OneOf<int>(bits, {0, 5, 20}),
                             .new_session_percent = OneOf<int>(bits, {0, 2, 20}),
                             .clear_percent = OneOf<int>(bits, {0, 0, 2}),
                             .lost_percent = calamity_percent_ > 0 ? OneOf<int>(bits, {0, 3, 10}) : 0,
                             .repeated_percent = OneOf<int>(bits, {0, 5, 20}),
                             .acknowledges = bits.Percent(80)};
    trainers_.push_back(
        std::make_unique<Trainer>(std::move(options), &world_, server_.get(), history_.get()));
  }
}

}  // namespace evoke::testing
