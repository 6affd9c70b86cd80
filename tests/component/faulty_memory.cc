#include "tests/component/faulty_memory.h"

#include <unistd.h>

#include <thread>

#include "server/base/check.h"

namespace evoke::testing {
namespace {

const MemoryUid kUid = MemoryUid::FromView("faulty-memory-01");

ModelSpec SmallModel() {
  return {.key_dim = 8, .capacity = 24, .seed = 5, .choose_k = 6, .age_noise = 4, .merge_on_miss = 0.5f, .fold_misses = 0.75f};
}

std::string NewFolder() {
  static int count = 0;
  // In RAM where that can be had: durable is what the FaultFileSystem says.
  const std::string ram = "/dev/shm";
  const std::string path = (std::filesystem::exists(ram) ? ram : ::testing::TempDir()) + "/evoke-fault-" +
                           std::to_string(::getpid()) + "-" + std::to_string(count++);
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path + "/graves");
  return path;
}

}  // namespace

FaultyMemory::FaultyMemory(const Options& options)
    : options_(options),
      model_spec_(SmallModel()),
      spec_([&] {
        MemorySpec spec = ToServerSpec(SmallModel());
        spec.durability = static_cast<SpecDurability>(options.durability);
        spec.partitions = 4;
        return spec;
      }()),
      folder_(NewFolder()),
      disk_(std::make_shared<FaultFileSystem>(folder_ + "/graves")),
      env_(rocksdb::NewCompositeEnv(disk_)),
      compute_(std::make_unique<ThreadPool>("compute", 2)),
      io_(std::make_unique<ThreadPool>("io", 2)),
      log_({.seed = options.seed,
            .key_dim = model_spec_.key_dim,
            .capacity = model_spec_.capacity,
            .value_count = 6,
            .max_rows = 4,
            .large_percent = 0,
            .no_write_percent = 0,
            .skip_percent = 0}),
      model_(std::make_unique<ModelMemory>(model_spec_)),
      hashes_({model_->StateHash()}),
      guard_(DiskGuard::Create({.folder = folder_,
                                .reserve_bytes = options.reserve_bytes,
                                .clock = &clock_,
                                .io = io_.get(),
                                .free_bytes =
                                    [this] {
                                      ++looks_;
                                      return disk_->free_bytes();
                                    },
                                .try_write = [this] { return TryWrite(); }})) {}

FaultyMemory::~FaultyMemory() {
  disk_->ReleaseSyncs();
  if (executor_) Stop();
  guard_->Stop();
  io_.reset();
  compute_.reset();
  std::filesystem::remove_all(folder_);
}

absl::StatusOr<std::unique_ptr<SlotStore>> FaultyMemory::OpenStore(bool read_only) {
  auto store = RocksDbSlotStore::Open(
      {.path = store_path(),
       .uid = kUid,
       .key_dim = spec_.key_dim,
       .partitions = spec_.partitions,
       .payload_history = spec_.payload_history,
       .durability = options_.durability,
       .spec_digest = SpecDigest(spec_),
       .create = !read_only && acknowledged_ == 0,
       .read_only = read_only,
       .shared = RocksDbResources::Create(
           {.write_buffer_bytes = options_.flush_often ? 64u << 10 : 64u << 20, .env = env_.get()})});
  if (!store.ok()) return store.status();
  return std::unique_ptr<SlotStore>(*std::move(store));
}

void FaultyMemory::Open() {
  executor_ = MemoryExecutor::Create({.name = "m",
                                      .uid = kUid,
                                      .spec = spec_,
                                      .engine = {.shards = 2},
                                      .compute = compute_.get(),
                                      .io = io_.get(),
                                      .clock = &clock_,
                                      .cores = 2,
                                      .open_store = [this](bool read_only) { return OpenStore(read_only); },
                                      .disk = guard_});
  executor_->Recover();
}

void FaultyMemory::Start() {
  Open();
  ASSERT_EQ(executor_->figures().state, MemoryState::kServing) << executor_->figures().why;
  ExpectStateOfSomeTurnFrom(acknowledged_);
}

void FaultyMemory::Stop() {
  Answer<bool> closed;
  executor_->Close(absl::UnavailableError("closed"), [done = closed.Done()] { done(true); });
  EXPECT_TRUE(closed.Wait().ok());
  executor_.reset();
}

void FaultyMemory::LosePower(FaultFileSystem::Loss loss, uint64_t seed) {
  disk_->CutPower();
  if (executor_) Stop();
  disk_->RestorePower(loss, seed);
}

void FaultyMemory::ExpectStateOfSomeTurnFrom(uint64_t least) {
  const InspectReply found = Inspect();
  const uint64_t turn = found.state.turn.value;
  ASSERT_GE(turn, least) << "an acknowledged turn is lost";
  ASSERT_LE(turn, sent()) << "a turn that nobody sent";
  EXPECT_EQ(found.state_hash, hashes_[turn]) << "turn " << turn << " is not what the oracle says";
  if (turn >= acknowledged_) return;
  // The client goes on from what is there.
  acknowledged_ = turn;
  entries_.resize(turn);
  hashes_.resize(turn + 1);
  model_ = std::make_unique<ModelMemory>(model_spec_);
  for (const LogEntry& entry : entries_) model_->Train(entry.rows);
}

void FaultyMemory::AddEntry() {
  entries_.push_back(log_.Next());
  model_->Train(entries_.back().rows);
  hashes_.push_back(model_->StateHash());
}

Task FaultyMemory::NextTask(Answer<std::string>* answer) const {
  const LogEntry& entry = entries_.back();
  ObserveCall call;
  call.rows.dim = spec_.key_dim;
  call.rows.unit.assign(entry.rows.size() * spec_.key_dim, 0);
  call.rows.norms.assign(entry.rows.size(), 0);
  call.rows.skip.assign(entry.rows.size(), 0);
  for (size_t i = 0; i < entry.rows.size(); ++i) {
    EVOKE_CHECK(NormaliseEmbedding(entry.rows[i].x.data(), static_cast<int>(spec_.key_dim),
                                   &call.rows.unit[i * spec_.key_dim], &call.rows.norms[i]) == RowCheck::kOk);
    call.values.push_back(entry.rows[i].value);
    call.payloads.push_back(entry.rows[i].payload);
  }
  call.write.assign(entry.rows.size(), 1);
  call.mutation = MutationId{.session = SessionId::FromView(std::string(16, 's')),
                             .number = sent(),
                             .first_unacknowledged = sent(),
                             .digest = {.low = sent()}};
  call.encode = [](const ObserveReply& r) { return "turn " + std::to_string(r.state.turn.value); };
  call.done = answer->Done();
  return {.call = std::move(call)};
}

std::string FaultyMemory::Train() {
  if (sent() == acknowledged_) AddEntry();
  Answer<std::string> answer;
  executor_->Submit(NextTask(&answer));
  if (!answer.Wait().ok()) return answer.Reason();
  EXPECT_EQ(*answer.Wait(), "turn " + std::to_string(sent()));
  acknowledged_ = sent();
  return "OK";
}

std::string FaultyMemory::Resend() {
  Answer<std::string> answer;
  executor_->Submit(NextTask(&answer));
  return answer.Reason();
}

void FaultyMemory::TrainUntilOk() {
  for (std::string answer = Train(); answer != "OK"; answer = Train()) {
    ASSERT_TRUE(answer == "COMMIT_UNKNOWN" || answer == "LOADING") << answer;
    std::this_thread::yield();
  }
  EXPECT_EQ(Inspect().state_hash, hashes_[acknowledged_]);
}

std::string FaultyMemory::Query(bool payloads) {
  Answer<QueryReply> answer;
  QueryCall call{.k = static_cast<uint32_t>(spec_.capacity),
                 .inverse_temperature = 40,
                 .neighbors = payloads,
                 .payloads = payloads,
                 .done = answer.Done()};
  call.rows.dim = spec_.key_dim;
  call.rows.unit.assign(spec_.key_dim, 0);
  call.rows.unit[0] = 1;
  call.rows.norms = {1};
  call.rows.skip = {0};
  executor_->Submit({.call = std::move(call)});
  return answer.Reason();
}

InspectReply FaultyMemory::Inspect() const {
  Answer<InspectReply> answer;
  executor_->Submit({.call = InspectCall{.done = answer.Done()}});
  if (answer.Wait().ok()) return *answer.Wait();
  ADD_FAILURE() << answer.Wait().status();
  return {};
}

void FaultyMemory::AwaitState(MemoryState state) {
  while (executor_->figures().state != state) {
    clock_.Advance(absl::Milliseconds(500));
    std::this_thread::yield();
  }
}

void FaultyMemory::AwaitLook() {
  // The one after the next: it began after this, and when a third begins it has ended.
  for (const uint64_t before = looks_; looks_ < before + 3;) {
    clock_.Advance(absl::Seconds(1));
    std::this_thread::yield();
  }
}

absl::Status FaultyMemory::TryWrite() {
  const rocksdb::Status written = rocksdb::WriteStringToFile(env_.get(), std::string(kProbeBytes, '\0'),
                                                             folder_ + "/probe", /*should_sync=*/true);
  return written.ok() ? absl::OkStatus() : absl::UnavailableError(written.ToString());
}

std::vector<std::string> FaultyMemory::Files(const std::string& ending) const {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(store_path())) {
    if (file.path().extension() == ending) files.push_back(file.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace evoke::testing
