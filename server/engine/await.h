// Asking a memory from a thread that may block: submits a call and waits for its answer.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/engine/executor.h"

namespace evoke {

// A task that requires this epoch of its memory.
inline Task Requiring(std::optional<Epoch> epoch) {
  Task task;
  if (epoch) task.epoch = epoch->value;
  return task;
}

// `call` without its `done`; `task` has what else is asked of it. Not from a thread of the memory's schedulers, which
// would wait for itself.
template <typename Answer, typename Call>
absl::StatusOr<Answer> Await(Executor& memory, Call call, Task task = {}) {
  struct Shared {
    Mutex mu;
    CondVar come;
    std::optional<absl::StatusOr<Answer>> answer ABSL_GUARDED_BY(mu);
  };
  auto shared = std::make_shared<Shared>();
  call.done = [shared](absl::StatusOr<Answer> answer) {
    MutexLock lock(&shared->mu);
    shared->answer = std::move(answer);
    shared->come.SignalAll();
  };
  task.call = std::move(call);
  memory.Submit(std::move(task));
  MutexLock lock(&shared->mu);
  while (!shared->answer) shared->come.Wait(&shared->mu);
  return *std::move(shared->answer);
}

}  // namespace evoke
