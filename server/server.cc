#include "server/server.h"

#include <grpcpp/server.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/base/log.h"
#include "server/base/machine_memory.h"
#include "server/base/status_macros.h"
#include "server/process.h"
#include "server/service/health.h"
#include "server/service/listen.h"
#include "server/similarity/fingerprint.h"
#include "server/index/device_plan.h"
#include "server/index/device_search_factory.h"
#include "server/index/index_factory.h"
#include "server/index/scan_paths.h"
#include "storage/disk_probe.h"
#include "storage/rocksdb_slot_store.h"

namespace evoke {
namespace {

// What a stop still waits for the stores after it was told to hurry.
constexpr absl::Duration kHurriedClose = absl::Seconds(5);

uint32_t Cores() {
  return std::max(1u, std::thread::hardware_concurrency());
}

std::string RandomInstance() {
  std::random_device device;
  std::string bytes(16, '\0');
  for (char& byte : bytes) byte = static_cast<char>(device());
  return bytes;
}

BuildInfo MakeBuildInfo() {
  return {.version = Version(),
          .commit = Commit(),
          .simd = std::string(Name(ActiveScanPath())),
          .cuda = CudaVersion(),
          .faiss = EVOKE_FAISS_VERSION,
          .rocksdb = EVOKE_ROCKSDB_VERSION};
}

Readiness::Check CheckOf(const MemoryFigures& figures) {
  Readiness::Check check{.name = absl::StrCat("memory ", figures.name)};
  switch (figures.state) {
    case MemoryState::kLoading:
      check.state = absl::StrCat("loading, ", figures.slots_loaded, " of ", figures.slots_to_load, " slots");
      break;
    case MemoryState::kServing:
      check.ok = true;
      check.state = "serving";
      break;
    case MemoryState::kReadOnly:
      check.state = absl::StrCat("read-only: ", figures.why.message());
      break;
    case MemoryState::kFailed:
      check.state = absl::StrCat("failed: ", figures.why.message());
      break;
    case MemoryState::kDraining:
      check.state = "draining";
      break;
  }
  return check;
}

SecurityFiles SecurityFilesOf(const Config& config) {
  return {.tls = {.certificate = config.tls_certificate,
                  .key = config.tls_key,
                  .client_ca = config.tls_client_ca},
          .tokens = config.tokens,
          .audit_log = config.audit_log};
}

RequestLimits LimitsOf(const Config& config) {
  return {.max_message_bytes = config.max_message_bytes, .max_rows = config.max_rows, .max_k = config.max_k};
}

void LogAlarm(const Alarm& alarm, bool raised) {
  if (raised) {
    Log(LogLevel::kError, "alarm",
        {{LogKey::kAlarm, alarm.name}, {LogKey::kMemory, alarm.memory}, {LogKey::kDetail, alarm.message}});
  } else {
    Log(LogLevel::kInfo, "alarm is over", {{LogKey::kAlarm, alarm.name}, {LogKey::kMemory, alarm.memory}});
  }
}

}  // namespace

const char* Version() {
  return EVOKE_VERSION;
}
const char* Commit() {
  return EVOKE_COMMIT;
}

int ExitCodeOf(const absl::Status& start) {
  switch (start.code()) {
    case absl::StatusCode::kInvalidArgument:  // a file that the configuration names
    case absl::StatusCode::kUnimplemented:    // an index that is not built in
      return kExitUsage;
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:  // a newer format
      return kExitCorrupt;
    case absl::StatusCode::kAborted:
      return kExitLocked;
    case absl::StatusCode::kResourceExhausted:
      return kExitResource;
    default:
      return kExitFailure;
  }
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Config& config) {
  std::unique_ptr<Server> server(new Server(config));
  EVOKE_RETURN_IF_ERROR(server->Begin());
  return server;
}

Server::Server(const Config& config)
    : config_(config),
      exporter_(MakeBuildInfo()),
      recent_(&clock_, &exporter_),
      alarms_(&clock_, LogAlarm),
      slow_turns_(std::make_shared<SlowTurns>(config.slow_turn)),
      compute_("compute", config.threads == 0 ? Cores() : config.threads),
      io_("io", config.io_threads),
      admin_("admin", 1),  // the catalog changes one memory at a time
      memory_service_(&context_),
      admin_service_(&context_) {}

absl::Status Server::Begin() {
  const uint64_t fingerprint = ArithmeticFingerprint();
  if (fingerprint != kArithmeticFingerprint) {
    return absl::InternalError(absl::StrFormat(
        "this build computes differently on this machine: arithmetic fingerprint %016x, expects %016x",
        fingerprint, kArithmeticFingerprint));
  }
  EVOKE_ASSIGN_OR_RETURN(security_, Security::Open(SecurityFilesOf(config_)));
  EVOKE_ASSIGN_OR_RETURN(data_dir_, DataDir::Open(config_.data_dir));
  disk_ = DiskGuard::Create({.folder = config_.data_dir,
                             .reserve_bytes = config_.disk_reserve_bytes,
                             .clock = &clock_,
                             .io = &io_,
                             .free_bytes = [path = config_.data_dir] { return FreeBytes(path); },
                             .try_write = [this] { return TryWriteInTmp(); },
                             .on_change = [this] { UpdateHealth(); }});
  const auto rocksdb = RocksDbResources::Create(
      {.block_cache_bytes = config_.block_cache_bytes, .write_buffer_bytes = config_.write_buffer_bytes});
  EngineOptions engine = config_.engine;
  engine.slow_turns = slow_turns_;
  EVOKE_ASSIGN_OR_RETURN(const uint64_t gpu_budget_bytes, ChooseDevices(&engine));
  EVOKE_ASSIGN_OR_RETURN(
      catalog_,
      Catalog::Open({.data_dir = data_dir_.get(),
                     .compute = &compute_,
                     .io = &io_,
                     .clock = &clock_,
                     .cores = compute_.thread_count(),
                     .engine = engine,
                     .max_memories = config_.max_memories,
                     .memory_budget_bytes = config_.memory_budget_bytes > 0 ? config_.memory_budget_bytes
                                                                            : UsableMemoryBytes() / 5 * 4,
                     .gpu_budget_bytes = gpu_budget_bytes,
                     .keep_records_count = config_.keep_records_count,
                     .keep_records_bytes = config_.keep_records_bytes,
                     .rocksdb = rocksdb,
                     .disk = disk_,
                     .make_probe = [this](std::string_view memory) { return recent_.Watch(memory, exporter_.MakeProbe(memory)); },
                     .on_state_change = [this] { UpdateHealth(); }}));
  if (const Catalog::Budget budget = catalog_->budget(); !budget.Fits(0)) {
    Log(LogLevel::kWarn, "when full, the memories need more bytes of RAM than memory-budget-bytes",
        {{LogKey::kBytes, budget.planned}, {LogKey::kLimitBytes, budget.bytes}});
  }
  ReadMetrics(rocksdb);
  StartSnapshots(rocksdb);

  context_.catalog = catalog_.get();
  context_.admin = &admin_;
  context_.long_calls = long_calls_.get();
  context_.snapshots = snapshots_.get();
  context_.observer = &recent_;
  context_.auth = security_->auth();
  context_.audit = security_->audit();
  context_.limits.Set(LimitsOf(config_));
  context_.alarms = &alarms_;
  context_.engine = config_.engine;
  context_.max_memories = config_.max_memories;
  context_.max_open_exports = config_.max_open_exports;
  context_.instance = RandomInstance();
  context_.version = Version();
  context_.simd = std::string(Name(ActiveScanPath()));
  context_.arithmetic_fingerprint = fingerprint;
  context_.started = clock_.Now();
  EVOKE_ASSIGN_OR_RETURN(
      ListeningServer listening,
      Listen({.addresses = config_.listen,
              .max_message_bytes = config_.max_message_bytes,
              .credentials = [this](auto& address) { return security_->CredentialsFor(address); },
              .handshake_timeout = config_.handshake_timeout,
              .services = {&memory_service_, &admin_service_}}));
  grpc_server_ = std::move(listening.server);
  grpc_addresses_ = std::move(listening.addresses);
  {
    MutexLock lock(&health_mu_);
    health_ready_ = true;
  }
  UpdateHealth();

  return config_.http_listen.empty() ? absl::OkStatus() : StartHttp();
}

absl::Status Server::StartHttp() {
  web_page_ = std::make_unique<WebPage>(
      WebPage::Options{.shared = &context_,
                       .recent = &recent_,
                       .clock = &clock_,
                       .facts = {.version = Version(),
                                 .commit = Commit(),
                                 .instance = absl::BytesToHexString(context_.instance),
                                 .simd = context_.simd,
                                 .arithmetic_fingerprint = absl::StrFormat("%016x", context_.arithmetic_fingerprint),
                                 .config_digest = config_.digest,
                                 .process = getpid(),
                                 .started = context_.started},
                       .config = config_.text,
                       .from_anywhere = config_.allow_insecure_remote});
  auto http = HttpServer::Start({.address = config_.http_listen,
                                 .metrics = [this] { return exporter_.Text(); },
                                 .readiness = [this] { return ReadReadiness(); },
                                 .pages = [this](const HttpRequest& request) { return web_page_->Answer(request); }});
  if (!http.ok()) return absl::ResourceExhaustedError(http.status().message());
  http_server_ = *std::move(http);
  http_address_ =
      absl::StrCat(config_.http_listen.substr(0, config_.http_listen.rfind(':') + 1), http_server_->port());
  return absl::OkStatus();
}

void Server::StartSnapshots(const std::shared_ptr<RocksDbResources>& rocksdb) {
  snapshots_ = std::make_unique<Snapshots>(Snapshots::Options{.data_dir = data_dir_.get(),
                                                              .catalog = catalog_.get(),
                                                              .clock = &clock_,
                                                              .backup_dir = config_.backup_dir,
                                                              .keep_scheduled = config_.snapshot_keep,
                                                              .keep_records_count = config_.keep_records_count,
                                                              .keep_records_bytes = config_.keep_records_bytes,
                                                              .rocksdb = rocksdb,
                                                              .writable = [this] { return disk_->Refusal(); }});
  // A thread for each call that may be open, for one waits for its client; one for the schedule, one for what is not a
  // stream.
  long_calls_ = std::make_unique<ThreadPool>("long", config_.max_open_exports + 2);
  if (config_.snapshot_every <= absl::ZeroDuration()) return;
  snapshot_schedule_ = SnapshotSchedule::Start(
      {.catalog = catalog_.get(),
       .snapshots = snapshots_.get(),
       .clock = &clock_,
       .scheduler = long_calls_.get(),
       .every = config_.snapshot_every,
       .on_made = [](const std::string& memory, const absl::StatusOr<SnapshotManifest>& made) {
         if (made.ok()) {
           Log(LogLevel::kInfo, "scheduled snapshot",
               {{LogKey::kMemory, memory}, {LogKey::kSnapshot, made->id}, {LogKey::kBytes, made->bytes()}});
         } else {
           Log(LogLevel::kError, "scheduled snapshot failed",
               {{LogKey::kMemory, memory}, {LogKey::kDetail, made.status().message()}});
         }
       }});
}

absl::StatusOr<uint64_t> Server::ChooseDevices(EngineOptions* engine) {
  if (!IsDeviceIndex(engine->index)) return 0;
  EVOKE_RETURN_IF_ERROR(PlanIndex(engine->index, {.dim = 1, .make_device = engine->make_device}).status());
  engine->on_device_search = [this](int device, absl::Duration taken) { exporter_.OnDeviceSearch(device, taken); };
  const absl::StatusOr<std::vector<DeviceInfo>> found = ListDevices();
  if (!found.ok()) {
    // Every memory raises its alarm by itself; there may be none yet.
    Log(LogLevel::kError, "there is no GPU for the index: the CPU is used", {{LogKey::kDetail, found.status().message()}});
    return 0;
  }
  const bool all = engine->gpu_devices.empty();
  uint64_t budget = 0;
  for (const DeviceInfo& device : *found) {
    if (all) engine->gpu_devices.push_back(device.number);
    const std::vector<int>& chosen = engine->gpu_devices;
    if (std::find(chosen.begin(), chosen.end(), device.number) == chosen.end()) continue;
    budget += device.free_bytes - std::min(device.free_bytes, kDeviceReserveBytes);
    Log(LogLevel::kInfo, "GPU", {{LogKey::kDetail, absl::StrCat(device.number, ": ", device.name)}, {LogKey::kBytes, device.free_bytes}});
  }
  return std::max<uint64_t>(1, budget);
}

void Server::ReadMetrics(const std::shared_ptr<RocksDbResources>& rocksdb) {
  exporter_.ReadFigures([this] {
    std::vector<MemoryFigures> figures;
    for (const auto& executor : catalog_->List()) {
      figures.push_back(executor->figures());
      figures.back().store = executor->store_figures();
    }
    return figures;
  });
  exporter_.ReadServer([this, rocksdb] {
    const RocksDbResources::Figures shared = rocksdb->Read();
    const Catalog::Budget budget = catalog_->budget();
    return ServerFigures{.ready = ReadReadiness().ready,
                         .disk_free_bytes = FreeBytes(config_.data_dir).value_or(0),
                         .disk_reserve_bytes = config_.disk_reserve_bytes,
                         .ram_planned_bytes = budget.planned,
                         .ram_budget_bytes = budget.bytes,
                         .cache_bytes = shared.cache_bytes,
                         .cache_capacity_bytes = shared.cache_capacity_bytes,
                         .cache_hits = shared.cache_hits,
                         .cache_misses = shared.cache_misses,
                         .write_buffer_bytes = shared.write_buffer_bytes,
                         .write_buffer_capacity_bytes = shared.write_buffer_capacity_bytes};
  });
}

Server::~Server() {
  if (snapshot_schedule_ != nullptr) snapshot_schedule_->Stop();
  context_.draining.store(true);  // long calls are given up
  http_server_.reset();
  exporter_.ReadFigures(nullptr);
  exporter_.ReadServer(nullptr);
  {
    MutexLock lock(&health_mu_);
    health_ready_ = false;
  }
  if (disk_ != nullptr) disk_->Stop();
  // Calls under way are answered by their executors, which Close makes finish or refuse them.
  if (catalog_ != nullptr) catalog_->Close(clock_.Now() + kHurriedClose).IgnoreError();
  if (grpc_server_ != nullptr) grpc_server_->Shutdown(std::chrono::system_clock::now());
}

absl::Status Server::TryWriteInTmp() {
  // Memories that try at once do not meet.
  return TryWrite(data_dir_->TmpPath(absl::StrCat("probe-", probes_.fetch_add(1))));
}

std::vector<MemoryFigures> Server::Figures() const {
  std::vector<MemoryFigures> figures;
  for (const auto& executor : catalog_->List()) figures.push_back(executor->figures());
  return figures;
}

Readiness Server::ReadReadiness() const {
  Readiness readiness{.ready = !context_.draining.load()};
  readiness.checks.push_back({"server", readiness.ready, readiness.ready ? "serving" : "draining"});
  for (const MemoryFigures& figures : Figures()) {
    readiness.checks.push_back(CheckOf(figures));
    // As in health: a memory that is read-only or failed does not keep the others from being used.
    readiness.ready = readiness.ready && figures.state != MemoryState::kLoading;
  }
  for (const Alarm& alarm : alarms_.Active()) {
    readiness.checks.push_back({.name = absl::StrCat("alarm ", alarm.name),
                                .state = absl::StrCat("memory ", alarm.memory, ": ", alarm.message)});
  }
  return readiness;
}

void Server::UpdateHealth() {
  // Under the lock, so that of two changes the later one is what health shows.
  MutexLock lock(&health_mu_);
  if (!health_ready_) return;
  alarms_.Update(Figures());
  const ServingState state{.loading = catalog_->loading(), .draining = context_.draining.load()};
  SetHealth(grpc_server_.get(), state);
  if (was_loading_ && !state.loading) Log(LogLevel::kInfo, "all memories are recovered");
  if (!was_loading_ && state.loading) Log(LogLevel::kWarn, "a memory is recovering from its store");
  was_loading_ = state.loading;
}

void Server::Reload(const Config& config) {
  security_->Reload(SecurityFilesOf(config));
  context_.limits.Set(LimitsOf(config));
  slow_turns_->SetThreshold(config.slow_turn);
}

absl::Status CheckFiles(const Config& config) {
  EVOKE_RETURN_IF_ERROR(PlanIndex(config.engine.index, {.dim = 1}).status());  // is it built in?
  return Security::Check(SecurityFilesOf(config));
}

absl::Status Server::Drain(const std::function<bool()>& hurry) {
  const absl::Time deadline = clock_.Now() + config_.drain_timeout;
  context_.draining.store(true);
  context_.streams.Drain();
  if (snapshot_schedule_ != nullptr) snapshot_schedule_->Stop();
  UpdateHealth();
  catalog_->StopMutations();
  bool hurried = hurry();
  while (!hurried && clock_.Now() < deadline && !context_.mutations.WaitForNone(absl::Milliseconds(100)))
    hurried = hurry();
  if (const int64_t left = context_.mutations.count(); left > 0)
    Log(LogLevel::kWarn, "mutations are cut off", {{LogKey::kCount, static_cast<uint64_t>(left)}});
  const absl::Status closed = catalog_->Close(hurried ? clock_.Now() + kHurriedClose
                                                      : std::max(deadline, clock_.Now() + kHurriedClose));
  grpc_server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  return closed;
}

}  // namespace evoke
