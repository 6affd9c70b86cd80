// The composition root: makes every part of the server, connects them, and takes them down in order.
//
//   flags -> Config -> Server::Start -> ... -> Drain -> destroyed
//
//      gRPC --> services --> catalog --> executors (compute, io) --> stores (data directory)
//      HTTP --> exporter <-- probes of the executors, and every call
//
// Threads: thread-safe but for Drain, which is called once, by one thread.
// Failure: Start leaves nothing behind; its status tells the exit code (ExitCodeOf).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/thread_pool.h"
#include "server/config/config.h"
#include "server/engine/alarms.h"
#include "server/engine/catalog.h"
#include "server/engine/snapshot_schedule.h"
#include "server/engine/snapshots.h"
#include "server/engine/disk_guard.h"
#include "server/engine/slow_turns.h"
#include "server/http/http_server.h"
#include "server/metrics/exporter.h"
#include "server/page/recent_activity.h"
#include "server/page/web_page.h"
#include "server/service/admin_service.h"
#include "server/service/memory_service.h"
#include "server/service/security.h"
#include "server/service/service_context.h"
#include "storage/data_dir.h"

namespace grpc {
class Server;
}  // namespace grpc

namespace evoke {

// "0.1.0" and the commit that was built.
const char* Version();
const char* Commit();

class Server {
 public:
  // Locks the data directory, begins to recover its memories and listens at once; until a memory is
  // recovered, its calls get LOADING.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Config& config);
  // Without a Drain before: whatever is under way is cut off, but nothing acknowledged is lost.
  ~Server();

  // Real addresses, as configured but with the ports that were chosen; the HTTP one is empty when it is off.
  const std::vector<std::string>& grpc_addresses() const { return grpc_addresses_; }
  const std::string& http_address() const { return http_address_; }

  // Reads the files of certificates and tokens again and takes over the limits of a request and of a slow turn, from
  // `config`, where they may have other names and values now; everything else of it is ignored. A file that is wrong is
  // logged, and what it should replace stays. Calls under way are not disturbed.
  void Reload(const Config& config);

  // What it waits for, and what is wrong with it. Takes the locks that calls take; thread-safe.
  Readiness ReadReadiness() const;

  // Health goes to not-serving, new mutations get DRAINING, what was accepted is finished, stores are closed.
  // Waits up to the configured drain timeout, or until `hurry` (asked about ten times a second) is true; then
  // the waiting is skipped, not the closing. DEADLINE_EXCEEDED when work was cut off.
  absl::Status Drain(const std::function<bool()>& hurry);

 private:
  explicit Server(const Config& config);
  absl::Status Begin();
  void StartSnapshots(const std::shared_ptr<RocksDbResources>& rocksdb);
  void UpdateHealth();
  // The devices that an index on one is to take, and what their memory may be planned for; 0: any.
  absl::StatusOr<uint64_t> ChooseDevices(EngineOptions* engine);
  absl::Status StartHttp();
  absl::Status TryWriteInTmp();
  std::vector<MemoryFigures> Figures() const;
  void ReadMetrics(const std::shared_ptr<RocksDbResources>& rocksdb);

  const Config config_;
  // In the order in which they must outlive each other: what is below uses what is above.
  Exporter exporter_;
  RealClock clock_;
  RecentActivity recent_;
  Alarms alarms_;
  const std::shared_ptr<SlowTurns> slow_turns_;
  ThreadPool compute_;
  ThreadPool io_;
  std::unique_ptr<DataDir> data_dir_;
  std::shared_ptr<DiskGuard> disk_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Security> security_;
  ServiceContext context_;
  std::unique_ptr<Snapshots> snapshots_;
  std::shared_ptr<SnapshotSchedule> snapshot_schedule_;
  ThreadPool admin_;
  std::unique_ptr<ThreadPool> long_calls_;
  MemoryService memory_service_;
  AdminService admin_service_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::unique_ptr<WebPage> web_page_;
  std::unique_ptr<HttpServer> http_server_;
  std::vector<std::string> grpc_addresses_;
  std::string http_address_;

  std::atomic<uint64_t> probes_{0};  // names of files only

  Mutex health_mu_;
  bool health_ready_ ABSL_GUARDED_BY(health_mu_) = false;  // both catalog and gRPC server are there
  bool was_loading_ ABSL_GUARDED_BY(health_mu_) = true;
};

// Of a configuration that --check-config is asked about: INVALID_ARGUMENT when a file that it names is wrong.
absl::Status CheckFiles(const Config& config);

// kExitUsage, kExitCorrupt, kExitLocked, kExitResource or kExitFailure.
int ExitCodeOf(const absl::Status& start);

}  // namespace evoke
