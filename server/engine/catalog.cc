#include "server/engine/catalog.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/errors.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"
#include "server/engine/memory_executor.h"
#include "storage/catalog.h"
#include "storage/ram_slot_store.h"

namespace evoke {
namespace {

absl::Status NotFound(const std::string& name) {
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no memory \"", name, "\""),
                   {.reason = "MEMORY_NOT_FOUND"});
}

absl::Status OtherUid(const std::string& name, const MemoryUid& is, const MemoryUid& required) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("memory \"", name, "\" is ", is.ToString(), ", the request requires ", required.ToString()),
                   {.reason = "STALE_MEMORY", .metadata = {{"uid", is.ToString()}}});
}

MemoryUid RandomUid() {
  std::random_device device;
  MemoryUid uid;
  for (uint8_t& byte : uid.bytes) byte = static_cast<uint8_t>(device());
  return uid;
}

class CatalogImpl final : public Catalog {
 public:
  explicit CatalogImpl(Options options) : options_(std::move(options)), file_(options_.data_dir) {}

  absl::Status Start();

  absl::StatusOr<std::shared_ptr<Executor>> Find(std::string_view name, const MemoryUid& uid) const override;
  std::vector<std::shared_ptr<Executor>> List() const override;
  absl::StatusOr<Created> Create(const std::string& name, const MemorySpec& spec, const MemoryUid& uid,
                                 bool if_not_exists) override;
  absl::StatusOr<Created> CreateFrom(const std::string& name, const MemorySpec& spec, const MemoryUid& uid,
                                     Build build) override;
  absl::StatusOr<MemoryUid> Delete(const std::string& name, const MemoryUid& uid) override;
  Budget budget() const override;
  MemoryPlan Plan(const MemorySpec& spec) const override;
  bool loading() const override;
  void StopMutations() override;
  absl::Status Close(absl::Time deadline) override;

 private:
  std::shared_ptr<MemoryExecutor> MakeExecutor(const std::string& name, const MemoryUid& uid, const MemorySpec& spec);
  absl::StatusOr<std::unique_ptr<SlotStore>> OpenStore(const MemoryUid& uid, const MemorySpec& spec, bool create,
                                                       bool read_only) const;
  absl::StatusOr<Created> Existing(const std::shared_ptr<MemoryExecutor>& executor, const MemorySpec& spec,
                                   const MemoryUid& uid, bool if_not_exists) const;
  // `build` null: an empty store.
  absl::StatusOr<Created> MakeNew(const std::string& name, const MemorySpec& spec, const MemoryUid& uid,
                                  bool if_not_exists, const Build& build) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_);
  absl::Status MakeDurable(const std::string& name, const MemoryUid& uid, const MemorySpec& spec, const Build& build,
                           MemoryExecutor* executor) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_);
  // MEMORY_LIMIT unless there is room for one more memory like this.
  absl::Status CheckRoom(const std::string& name, const MemorySpec& spec) const;
  static absl::Status RecoverNew(MemoryExecutor* executor);
  // Runs when the executor has finished what it accepted and given its store back.
  static void CloseAndWait(MemoryExecutor* executor, const absl::Status& why);
  absl::Status Record(const std::string& name, const MemoryUid& uid, const MemorySpec& spec, CatalogEntry::State state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_);
  absl::Status Forget(const MemoryUid& uid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_);

  const Options options_;
  Mutex change_;  // held through a Create or Delete, and taken before mu_: one change of the catalog at a time
  CatalogFile file_ ABSL_GUARDED_BY(change_);
  std::vector<CatalogEntry> entries_ ABSL_GUARDED_BY(change_);

  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<MemoryExecutor>, std::less<>> memories_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<std::unique_ptr<SlotStore>> CatalogImpl::OpenStore(const MemoryUid& uid, const MemorySpec& spec,
                                                                  bool create, bool read_only) const {
  if (spec.durability == SpecDurability::kMemory) {
    return std::make_unique<RamSlotStore>(RamSlotStore::Options{
        .uid = uid, .payload_history = spec.payload_history, .spec_digest = SpecDigest(spec)});
  }
  if (!read_only) EVOKE_RETURN_IF_ERROR(options_.data_dir->FinishReplacement(uid));
  EVOKE_ASSIGN_OR_RETURN(auto store,
                         RocksDbSlotStore::Open({.path = options_.data_dir->StorePath(uid),
                                                 .uid = uid,
                                                 .key_dim = spec.key_dim,
                                                 .partitions = spec.partitions,
                                                 .payload_history = spec.payload_history,
                                                 .durability = static_cast<Durability>(spec.durability),
                                                 .spec_digest = SpecDigest(spec),
                                                 .keep_records_count = options_.keep_records_count,
                                                 .keep_records_bytes = options_.keep_records_bytes,
                                                 .create = create,
                                                 .read_only = read_only,
                                                 .shared = options_.rocksdb}));
  return std::unique_ptr<SlotStore>(std::move(store));
}

std::shared_ptr<MemoryExecutor> CatalogImpl::MakeExecutor(const std::string& name, const MemoryUid& uid,
                                                          const MemorySpec& spec) {
  return MemoryExecutor::Create({.name = name,
                                 .uid = uid,
                                 .spec = spec,
                                 .engine = options_.engine,
                                 .compute = options_.compute,
                                 .io = options_.io,
                                 .clock = options_.clock,
                                 .cores = options_.cores,
                                 .open_store = [this, uid, spec](bool read_only) {
                                   return OpenStore(uid, spec, /*create=*/false, read_only);
                                 },
                                 .disk = spec.durability == SpecDurability::kMemory ? nullptr : options_.disk,
                                 .probe = options_.make_probe ? options_.make_probe(name) : nullptr,
                                 .on_state_change = options_.on_state_change});
}

absl::Status CatalogImpl::Start() {
  MutexLock change(&change_);
  EVOKE_ASSIGN_OR_RETURN(entries_, file_.Load());
  const std::vector<CatalogEntry> loaded = entries_;
  for (const CatalogEntry& entry : loaded) {
    if (entry.state == CatalogEntry::State::kRemoved) {
      EVOKE_RETURN_IF_ERROR(options_.data_dir->RemoveMemoryFolder(entry.uid));
      EVOKE_RETURN_IF_ERROR(Forget(entry.uid));
      continue;
    }
    EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(entry.spec));
    auto executor = MakeExecutor(entry.name, entry.uid, spec);
    {
      MutexLock lock(&mu_);
      memories_[entry.name] = executor;
    }
    options_.io->Post([executor] { executor->Recover(); });
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Executor>> CatalogImpl::Find(std::string_view name, const MemoryUid& uid) const {
  MutexLock lock(&mu_);
  const auto it = memories_.find(name);
  if (it == memories_.end()) return NotFound(std::string(name));
  if (!uid.IsZero() && it->second->uid() != uid) return OtherUid(it->first, it->second->uid(), uid);
  return it->second;
}

std::vector<std::shared_ptr<Executor>> CatalogImpl::List() const {
  MutexLock lock(&mu_);
  std::vector<std::shared_ptr<Executor>> all;
  for (const auto& [name, executor] : memories_) all.push_back(executor);
  return all;
}

// --- the catalog file ----------------------------------------------------------------------------------------------

absl::Status CatalogImpl::Record(const std::string& name, const MemoryUid& uid, const MemorySpec& spec,
                                 CatalogEntry::State state) {
  std::vector<CatalogEntry> changed = entries_;
  std::erase_if(changed, [&](const CatalogEntry& e) { return e.uid == uid; });
  changed.push_back({.name = name, .uid = uid, .state = state, .spec = EncodeSpec(spec)});
  EVOKE_RETURN_IF_ERROR(file_.Store(changed));
  entries_ = std::move(changed);
  return absl::OkStatus();
}

absl::Status CatalogImpl::Forget(const MemoryUid& uid) {
  std::vector<CatalogEntry> changed = entries_;
  std::erase_if(changed, [&](const CatalogEntry& e) { return e.uid == uid; });
  EVOKE_RETURN_IF_ERROR(file_.Store(changed));
  entries_ = std::move(changed);
  return absl::OkStatus();
}

// --- changes -------------------------------------------------------------------------------------------------------

absl::StatusOr<Catalog::Created> CatalogImpl::Existing(const std::shared_ptr<MemoryExecutor>& executor,
                                                       const MemorySpec& spec, const MemoryUid& uid,
                                                       bool if_not_exists) const {
  const std::string& name = executor->name();
  if (!if_not_exists && uid != executor->uid()) {
    return MakeError(absl::StatusCode::kAlreadyExists, absl::StrCat("there is a memory \"", name, "\" already"),
                     {.reason = "MEMORY_EXISTS", .metadata = {{"uid", executor->uid().ToString()}}});
  }
  if (const std::string difference = SpecDifference(executor->spec(), spec); !difference.empty()) {
    return MakeError(absl::StatusCode::kAlreadyExists,
                     absl::StrCat("there is a memory \"", name, "\" with another spec: ", difference),
                     {.reason = "SPEC_DIFFERS",
                      .metadata = {{"field", difference.substr(0, difference.find(':'))}}});
  }
  return Created{.executor = executor, .created = false};
}

absl::Status CatalogImpl::MakeDurable(const std::string& name, const MemoryUid& uid, const MemorySpec& spec,
                                      const Build& build, MemoryExecutor* executor) {
  // Named as a folder to remove until it is whole: a crash in between leaves nothing behind.
  absl::Status made = Record(name, uid, spec, CatalogEntry::State::kRemoved);
  if (made.ok()) made = options_.data_dir->MakeMemoryFolder(uid);
  if (made.ok()) {
    made = build ? build(uid, options_.data_dir->StorePath(uid))
                 : OpenStore(uid, spec, /*create=*/true, /*read_only=*/false).status();
  }
  const bool recovers = made.ok();
  if (recovers) made = RecoverNew(executor);
  if (made.ok()) made = Record(name, uid, spec, CatalogEntry::State::kLive);
  if (made.ok()) return made;
  if (recovers) CloseAndWait(executor, made);
  // What cannot be taken back now is taken back at the next start.
  if (options_.data_dir->RemoveMemoryFolder(uid).ok()) Forget(uid).IgnoreError();
  // The file system, or RocksDB on it, says so: nothing else here is unavailable.
  if (absl::IsUnavailable(made) && !DetailOf(made)) {
    made = MakeError(absl::StatusCode::kFailedPrecondition, std::string(made.message()), {.reason = "READ_ONLY_DISK"});
  }
  return Annotate(made, absl::StrCat("create memory \"", name, "\""));
}

absl::Status CatalogImpl::RecoverNew(MemoryExecutor* executor) {
  executor->Recover();
  const MemoryFigures figures = executor->figures();
  return figures.state == MemoryState::kServing ? absl::OkStatus() : figures.why;
}

void CatalogImpl::CloseAndWait(MemoryExecutor* executor, const absl::Status& why) {
  Mutex mu;
  CondVar closed;
  bool done = false;
  executor->Close(why, [&] {
    MutexLock lock(&mu);
    done = true;
    closed.SignalAll();
  });
  MutexLock lock(&mu);
  while (!done) closed.Wait(&mu);
}

MemoryPlan CatalogImpl::Plan(const MemorySpec& spec) const {
  const absl::StatusOr<MemoryPlan> plan = PlanOf(
      spec, {.engine = options_.engine, .cores = options_.cores, .keep_records_bytes = options_.keep_records_bytes});
  EVOKE_CHECK(plan.ok());  // the configuration names an index that there is
  return *plan;
}

Catalog::Budget CatalogImpl::budget() const {
  Budget budget{.bytes = options_.memory_budget_bytes};
  for (const auto& executor : List()) budget.planned += Plan(executor->spec()).ram_bytes;
  return budget;
}

absl::Status CatalogImpl::CheckRoom(const std::string& name, const MemorySpec& spec) const {
  const auto limit = [](const std::string& message, const char* field, uint64_t observed, uint64_t limit) {
    return MakeError(absl::StatusCode::kResourceExhausted, message,
                     {.reason = "MEMORY_LIMIT",
                      .metadata = {{"field", field},
                                   {"observed", absl::StrCat(observed)},
                                   {"limit", absl::StrCat(limit)}}});
  };
  if (const size_t count = List().size(); count >= options_.max_memories) {
    return limit(absl::StrCat("there are ", count, " memories, at most ", options_.max_memories), "memories", count + 1,
                 options_.max_memories);
  }
  const Budget budget = this->budget();
  const MemoryPlan plan = Plan(spec);
  uint64_t on_devices = 0;
  for (const auto& executor : List()) on_devices += Plan(executor->spec()).gpu_bytes;
  if (options_.gpu_budget_bytes > 0 && on_devices + plan.gpu_bytes > options_.gpu_budget_bytes) {
    return limit(absl::StrCat("memory \"", name, "\" needs ", plan.gpu_bytes, " bytes of GPU memory when it is full, other "
                              "memories ", on_devices, ": more than the ", options_.gpu_budget_bytes, " that there are"),
                 "gpu_bytes", on_devices + plan.gpu_bytes, options_.gpu_budget_bytes);
  }
  const uint64_t bytes = plan.ram_bytes;
  if (budget.Fits(bytes)) return absl::OkStatus();
  return limit(absl::StrCat("memory \"", name, "\" needs ", bytes, " bytes of RAM when it is full, other memories ",
                            budget.planned, ": more than the ", budget.bytes, " of memory-budget-bytes"),
               "memory_budget_bytes", budget.planned + bytes, budget.bytes);
}

absl::StatusOr<Catalog::Created> CatalogImpl::Create(const std::string& name, const MemorySpec& spec,
                                                     const MemoryUid& uid, bool if_not_exists) {
  MutexLock change(&change_);
  return MakeNew(name, spec, uid, if_not_exists, /*build=*/nullptr);
}

absl::StatusOr<Catalog::Created> CatalogImpl::CreateFrom(const std::string& name, const MemorySpec& spec,
                                                         const MemoryUid& uid, Build build) {
  MutexLock change(&change_);
  return MakeNew(name, spec, uid, /*if_not_exists=*/false, build);
}

absl::StatusOr<Catalog::Created> CatalogImpl::MakeNew(const std::string& name, const MemorySpec& spec,
                                                      const MemoryUid& wanted_uid, bool if_not_exists,
                                                      const Build& build) {
  std::shared_ptr<MemoryExecutor> existing;
  {
    MutexLock lock(&mu_);
    if (const auto it = memories_.find(name); it != memories_.end()) {
      existing = it->second;
    }
  }
  if (existing) return Existing(existing, spec, wanted_uid, if_not_exists);
  EVOKE_RETURN_IF_ERROR(CheckRoom(name, spec));
  const MemoryUid uid = wanted_uid.IsZero() ? RandomUid() : wanted_uid;

  const bool durable = spec.durability != SpecDurability::kMemory;
  if (durable && options_.disk) EVOKE_RETURN_IF_ERROR(options_.disk->Refusal());
  if (durable) {
    for (const CatalogEntry& e : entries_) {
      if (e.uid == uid) return BadArgument("uid", absl::StrCat("uid ", uid.ToString(), " is that of another memory"));
    }
  }
  auto executor = MakeExecutor(name, uid, spec);
  EVOKE_RETURN_IF_ERROR(durable ? MakeDurable(name, uid, spec, build, executor.get()) : RecoverNew(executor.get()));
  {
    MutexLock lock(&mu_);
    memories_[name] = executor;
  }
  // What it said of itself until now, an alarm perhaps, nobody could see: it was in no list.
  if (options_.on_state_change) options_.on_state_change();
  return Created{.executor = executor, .created = true};
}

absl::StatusOr<MemoryUid> CatalogImpl::Delete(const std::string& name, const MemoryUid& uid) {
  MutexLock change(&change_);
  std::shared_ptr<MemoryExecutor> executor;
  {
    MutexLock lock(&mu_);
    const auto it = memories_.find(name);
    if (it == memories_.end()) {
      if (uid.IsZero()) return NotFound(name);
      return MemoryUid{};
    }
    if (!uid.IsZero() && it->second->uid() != uid) return OtherUid(name, it->second->uid(), uid);
    executor = it->second;
  }
  const bool durable = executor->spec().durability != SpecDurability::kMemory;
  if (durable) EVOKE_RETURN_IF_ERROR(Record(name, executor->uid(), executor->spec(), CatalogEntry::State::kRemoved));
  {
    MutexLock lock(&mu_);
    memories_.erase(name);
  }
  CloseAndWait(executor.get(), NotFound(name));
  if (durable) {
    EVOKE_RETURN_IF_ERROR(options_.data_dir->RemoveMemoryFolder(executor->uid()));
    EVOKE_RETURN_IF_ERROR(Forget(executor->uid()));
  }
  if (options_.on_state_change) options_.on_state_change();
  return executor->uid();
}

// --- the end -------------------------------------------------------------------------------------------------------

bool CatalogImpl::loading() const {
  for (const auto& executor : List()) {
    if (executor->figures().state == MemoryState::kLoading) return true;
  }
  return false;
}

void CatalogImpl::StopMutations() {
  for (const auto& executor : List()) executor->StopMutations();
}

absl::Status CatalogImpl::Close(absl::Time deadline) {
  struct Waiting {
    Mutex mu;
    CondVar changed;
    size_t left ABSL_GUARDED_BY(mu) = 0;
  };
  auto waiting = std::make_shared<Waiting>();
  const auto all = List();
  {
    MutexLock lock(&waiting->mu);
    waiting->left = all.size();
  }
  const absl::Status why = MakeError(absl::StatusCode::kUnavailable, "the server is stopping",
                                     {.reason = "DRAINING", .retry_delay = absl::Milliseconds(500)});
  for (const auto& executor : all) {
    executor->Close(why, [waiting] {
      MutexLock lock(&waiting->mu);
      --waiting->left;
      waiting->changed.SignalAll();
    });
  }
  MutexLock lock(&waiting->mu);
  while (waiting->left > 0) {
    const absl::Duration rest = deadline - options_.clock->Now();
    if (rest <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat(waiting->left, " memories still had work at the deadline"));
    }
    waiting->changed.WaitFor(&waiting->mu, absl::ToChronoNanoseconds(std::min(rest, absl::Seconds(1))));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Open(Options options) {
  auto catalog = std::make_unique<CatalogImpl>(std::move(options));
  EVOKE_RETURN_IF_ERROR(catalog->Start());
  return std::unique_ptr<Catalog>(std::move(catalog));
}

bool IsValidMemoryName(std::string_view name) {
  if (name.empty() || name.size() > 128 || name[0] == '.' || name[0] == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

}  // namespace evoke
