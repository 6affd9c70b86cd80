// A catalog whose executors do what a test says, so that what the RPC layer makes of it can be seen.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/errors.h"
#include "server/base/mutex.h"
#include "server/engine/catalog.h"

namespace evoke {

class FakeExecutor final : public Executor {
 public:
  FakeExecutor(std::string name, MemorySpec spec) {
    figures_.name = std::move(name);
    figures_.uid = MemoryUid::FromView("0123456789abcdef");
    figures_.spec = spec;
    figures_.state = MemoryState::kServing;
    figures_.epoch = Epoch(1);
  }
  void Submit(Task task) override {
    ++submitted;
    on_submit(std::move(task));
  }
  const std::string& name() const override { return figures_.name; }
  const MemoryUid& uid() const override { return figures_.uid; }
  const MemorySpec& spec() const override { return figures_.spec; }
  MemoryFigures figures() const override { return figures_; }
  void ReplaceStore(Replacement replacement) override { replacement.done(absl::OkStatus()); }
  void StopMutations() override {}
  void Close(absl::Status, std::function<void()> done) override { done(); }

  StateName state() const {
    return {
        .memory = name(), .uid = uid(), .epoch = Epoch(1), .term = Term(1), .turn = Turn(3), .step = Step(4)};
  }

  std::function<void(Task)> on_submit;
  int submitted = 0;
  MemoryFigures figures_;
};

class FakeCatalog final : public Catalog {
 public:
  std::shared_ptr<FakeExecutor> Add(const std::string& name, const MemorySpec& spec) {
    auto executor = std::make_shared<FakeExecutor>(name, spec);
    MutexLock lock(&mu_);
    memories_[name] = executor;
    return executor;
  }
  absl::StatusOr<std::shared_ptr<Executor>> Find(std::string_view name, const MemoryUid& uid) const override {
    MutexLock lock(&mu_);
    const auto it = memories_.find(std::string(name));
    if (it == memories_.end()) {
      return MakeError(absl::StatusCode::kNotFound, "there is no such memory",
                       {.reason = "MEMORY_NOT_FOUND"});
    }
    return std::shared_ptr<Executor>(it->second);
  }
  std::vector<std::shared_ptr<Executor>> List() const override {
    MutexLock lock(&mu_);
    std::vector<std::shared_ptr<Executor>> all;
    for (const auto& [name, executor] : memories_) all.push_back(executor);
    return all;
  }
  Budget budget() const override { return memory_budget; }
  MemoryPlan Plan(const MemorySpec& spec) const override { return {.ram_bytes = spec.capacity * spec.key_dim}; }
  absl::StatusOr<Created> Create(const std::string& name, const MemorySpec& spec, const MemoryUid&,
                                 bool) override {
    if (create_error) return *create_error;
    return Created{Add(name, spec), true};
  }
  absl::StatusOr<Created> CreateFrom(const std::string& name, const MemorySpec& spec, const MemoryUid&, Build) override {
    return Created{Add(name, spec), true};
  }
  absl::StatusOr<MemoryUid> Delete(const std::string& name, const MemoryUid&) override {
    MutexLock lock(&mu_);
    return memories_.erase(name) > 0 ? MemoryUid::FromView("0123456789abcdef") : MemoryUid{};
  }
  bool loading() const override { return is_loading; }
  void StopMutations() override {}
  absl::Status Close(absl::Time) override { return absl::OkStatus(); }

  bool is_loading = false;
  Budget memory_budget;
  std::optional<absl::Status> create_error;

 private:
  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<FakeExecutor>> memories_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
