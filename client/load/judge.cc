#include "client/load/judge.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace evoke::load {
namespace {

constexpr size_t kKeptViolations = 20;  // a server that breaks one promise breaks it often

}  // namespace

void Judge::CheckHeader(const v1::ReplyHeader& header, uint64_t turn_before) {
  if (header.epoch() != options_.epoch) {
    AddViolation(absl::StrCat("the memory is at epoch ", header.epoch(), ", the run began at ",
                              options_.epoch, ": it was cleared or restored"));
  }
  if (header.turn() < turn_before) {
    AddViolation(absl::StrCat("a reply reflects turn ", header.turn(), ", but turn ", turn_before,
                              " was acknowledged before it was asked for"));
  }
}

void Judge::OnRead(const v1::ReplyHeader& header, uint64_t turn_before) {
  absl::MutexLock lock(&mu_);
  ++verdict_.reads;
  CheckHeader(header, turn_before);
}

void Judge::OnMutation(const v1::ReplyHeader& header, uint64_t rows, uint64_t turn_before,
                       SessionState* session) {
  absl::MutexLock lock(&mu_);
  ++verdict_.mutations;
  CheckHeader(header, turn_before);
  if (header.turn() <= session->turn || header.step() <= session->step) {
    AddViolation(absl::StrCat("a session's mutation has step ", header.step(), " in turn ", header.turn(),
                              ", the one before it had step ", session->step, " in turn ", session->turn));
  }
  if (header.step() < rows + options_.step) {
    AddViolation(absl::StrCat("a mutation of ", rows, " rows ends at step ", header.step(),
                              ", the run began at step ", options_.step));
  } else if (!steps_.Add(header.step() - rows, header.step())) {
    AddViolation(absl::StrCat("steps ", header.step() - rows + 1, " to ", header.step(), " of turn ",
                              header.turn(), " were given to another mutation too"));
  }
  *session = {.turn = header.turn(), .step = header.step()};
  if (header.turn() > acknowledged_turn_.load(std::memory_order_relaxed)) {
    acknowledged_turn_.store(header.turn(), std::memory_order_release);  // written under mu_ only
  }
}

void Judge::OnViolation(std::string what) {
  absl::MutexLock lock(&mu_);
  AddViolation(std::move(what));
}

void Judge::OnUnresolved(uint64_t rows) {
  absl::MutexLock lock(&mu_);
  ++verdict_.unresolved_mutations;
  unresolved_rows_ += rows;
}

void Judge::OnReplay(bool same_reply, const std::string& what) {
  absl::MutexLock lock(&mu_);
  ++verdict_.replays;
  if (!same_reply) AddViolation(absl::StrCat(what, " was sent again, and answered with another reply"));
}

void Judge::OnEnd(uint64_t epoch, uint64_t step) {
  absl::MutexLock lock(&mu_);
  verdict_.steps_of_memory = step - options_.step;
  if (epoch != options_.epoch) {
    AddViolation(absl::StrCat("the memory ended at epoch ", epoch, ", the run began at ", options_.epoch));
  }
  if (step < options_.step + steps_.count()) {
    AddViolation(absl::StrCat("the memory went ", step - options_.step, " steps, but ", steps_.count(),
                              " were acknowledged: some were lost"));
  } else if (!options_.shared && step > options_.step + steps_.count() + unresolved_rows_) {
    AddViolation(absl::StrCat("the memory went ", step - options_.step, " steps, but only ", steps_.count(),
                              " were acknowledged: some were applied twice, or others write too (--shared)"));
  } else if (!options_.shared && unresolved_rows_ == 0 && !steps_.IsExactly(options_.step, step)) {
    AddViolation("the steps that were acknowledged are not those that the memory went");
  }
}

Judge::Verdict Judge::verdict() const {
  absl::MutexLock lock(&mu_);
  Verdict verdict = verdict_;
  verdict.steps_acknowledged = steps_.count();
  return verdict;
}

void Judge::AddViolation(std::string what) {
  ++verdict_.violation_count;
  if (verdict_.violations.size() < kKeptViolations) verdict_.violations.push_back(std::move(what));
}

}  // namespace evoke::load
