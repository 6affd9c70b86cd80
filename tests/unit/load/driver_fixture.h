// A driver on a HeldTarget and a clock that only sleeping moves.
#pragma once

#include <memory>

#include "client/load/driver.h"
#include "tests/unit/load/held_target.h"
#include "tests/unit/load/manual_clock.h"

namespace evoke::load {

struct DriverSetup {
  Driver::Options options;
  Mix mix = Mix({0, 0, 1});
  bool shed = false;
  bool shared = false;
  absl::Duration deadline = absl::Seconds(10);
};

class DriverFixture {
 public:
  explicit DriverFixture(DriverSetup setup = {})
      : rows({.dim = 4, .values = 10}),
        judge({.shared = setup.shared}),
        driver(std::make_unique<Driver>(setup.options,
                                        LaneContext{.memory = "faces",
                                                    .uid = std::string(16, 'u'),
                                                    .workload = {.mix = setup.mix, .rows = 2},
                                                    .shed = setup.shed,
                                                    .deadline = setup.deadline,
                                                    .retry = {.initial_backoff = absl::Milliseconds(100),
                                                              .max_backoff = absl::Milliseconds(100)},
                                                    .rows = &rows,
                                                    .target = &target,
                                                    .judge = &judge,
                                                    .clock = &clock})) {}

  // Constant arrivals from now on; the first is due at once.
  void StartOpen(double rate) {
    driver->Start(Arrivals({.kind = ArrivalKind::kConstant, .rate = rate, .start = clock.Now()}));
  }
  // Moves the clock by little steps, as the pacer would see it.
  void Pass(absl::Duration duration, absl::Duration step = absl::Milliseconds(1)) {
    for (absl::Duration passed; passed < duration; passed += step) {
      clock.Sleep(step);
      driver->Poll();
    }
  }
  Judge::Verdict End() {
    judge.OnEnd(1, target.step);
    return judge.verdict();
  }

  ManualClock clock;
  HeldTarget target;
  RowSource rows;
  Judge judge;
  std::unique_ptr<Driver> driver;
};

}  // namespace evoke::load
