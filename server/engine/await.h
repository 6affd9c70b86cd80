// Asking a memory from a thread that may block: submits a call and waits for its answer.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/errors.h"
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
// would wait for itself. `patience` is for reads, which may be given up: DEADLINE_EXCEEDED after it, and the answer is
// dropped when it comes.
template <typename Answer, typename Call>
absl::StatusOr<Answer> Await(Executor& memory, Call call, Task task = {},
                             absl::Duration patience = absl::InfiniteDuration()) {
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
  if (patience == absl::InfiniteDuration()) {
    while (!shared->answer) shared->come.Wait(&shared->mu);
  } else {
    const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(patience);
    while (!shared->answer) {
      const auto left = until - std::chrono::steady_clock::now();
      if (left.count() <= 0) break;
      shared->come.WaitFor(&shared->mu, left);
    }
    if (!shared->answer) {
      return MakeError(absl::StatusCode::kDeadlineExceeded,
                       absl::StrCat("memory \"", memory.name(), "\" has not answered within ",
                                    absl::FormatDuration(patience)),
                       {.reason = "NOT_APPLIED"});
    }
  }
  return *std::move(shared->answer);
}

}  // namespace evoke
