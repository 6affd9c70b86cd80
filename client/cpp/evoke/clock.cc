#include "evoke/clock.h"

#include <chrono>
#include <memory>
#include <utility>

#include "grpcpp/alarm.h"

namespace evoke::client {

void RealClock::CallAfter(absl::Duration duration, std::function<void()> work) {
  // The alarm is kept by its own callback: an alarm that is destroyed goes off early.
  auto alarm = std::make_shared<grpc::Alarm>();
  grpc::Alarm& set = *alarm;
  set.Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(duration),
          [alarm = std::move(alarm), work = std::move(work)](bool) mutable {
            work();
            alarm.reset();
          });
}

}  // namespace evoke::client
