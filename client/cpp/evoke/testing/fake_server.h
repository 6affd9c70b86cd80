// A server for tests of clients: speaks the protocol, keeps the rules of sessions, and misbehaves on request.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "evoke/id128.h"
#include "evoke/types.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"

namespace grpc {
class Server;
class ServerContext;
class Status;
}  // namespace grpc

namespace evoke::client {

// What happens to one call instead of its answer.
struct Fault {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  std::string reason;  // empty: no details, as from the transport
  std::map<std::string, std::string> metadata;
  std::optional<absl::Duration> retry_delay;
  bool apply = false;  // do the work first: the reply is lost
};

// One call as it arrived. Fields of a mutation are empty for reads.
struct SeenCall {
  std::string method;  // "TrainStep"
  std::string uid;     // raw; of the memory, empty where the request named none
  std::string session;
  uint64_t number = 0;
  uint64_t first_unacknowledged = 0;
  uint64_t opened_after = 0;
};

// Listens from construction to destruction, on a free port of the loopback or on a unix socket. It learns
// nothing but exact imports: every observation counts as a step and takes the slot with its step's number;
// answers repeat the given values. Sessions follow semantics.md section 5: an applied number is answered from
// its record, gaps and unknown sessions are errors. Thread-safe.
class FakeServer {
 public:
  explicit FakeServer(const std::string& listen = "127.0.0.1:0");
  ~FakeServer();

  // "127.0.0.1:PORT", or what was given.
  const std::string& address() const { return address_; }

  // The next calls of `method` get `faults`, one each, in this order.
  void Fail(const std::string& method, std::vector<Fault> faults);
  // Calls of `method` (for "TrainStream": its requests, one by one) are recorded and then wait until Release.
  void Hold(const std::string& method);
  void Release(const std::string& method);
  // Until `count` calls of `method` have arrived since the beginning.
  void AwaitCalls(const std::string& method, size_t count) const;
  // The next stream that is refused keeps so many requests that follow the refused one, and serves them only
  // while a later stream goes on: as copies that were on their way. Requires: the client sends as many.
  void KeepLateCopies(int count);
  // Adds a memory, as CreateMemory would.
  void AddMemory(const std::string& name, uint32_t key_dim);
  // Forgets the sessions of a memory, as Restore does, and advances its turn.
  void ForgetSessions(const std::string& name);
  // What health answers for "".
  void SetServing(ServingStatus status);
  // What health answers first, one answer a check.
  void SetServingSequence(std::vector<ServingStatus> statuses);

  std::vector<SeenCall> calls(const std::string& method) const;
  // What came as the metadata `key` with each call of `method` ("Query"), by arrival; "" where it did not come.
  std::vector<std::string> metadata(const std::string& method, const std::string& key) const;
  uint64_t step(const std::string& name) const;

 private:
  class MemoryServiceImpl;
  class AdminServiceImpl;
  class HealthImpl;
  class MetadataRecorder;

  struct Session {
    uint64_t last_number = 0;
    std::string reply;  // serialised, of last_number
  };
  // A row that an exact Import wrote.
  struct FakeSlot {
    uint64_t slot;
    int64_t value;
    uint64_t written_step;
    uint32_t hits;
    std::string key;  // raw
    std::vector<v1::PlacedPayload> payloads;
  };
  struct FakeMemory {
    v1::MemoryDescription description;
    std::vector<FakeSlot> rows;           // oldest first; what Export gives
    std::vector<v1::Snapshot> snapshots;  // of names, not of content
    uint64_t forgotten_turn = 0;          // last turn of any forgotten session
    std::map<std::string, Session> sessions;
  };

  // Runs `work` on the memory that the request refers to, with what the script and the session rules make of
  // it.
  template <typename Request, typename Reply, typename Work>
  grpc::Status Serve(const char* method, const Request& request, Reply* reply, Work work);
  template <typename Request, typename Reply, typename Work>
  grpc::Status ServeMutation(const Request& request, FakeMemory& memory, Reply* reply, Work work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same for calls outside the sessions. `work` is told whether its reply will be lost.
  template <typename Request, typename Work>
  grpc::Status ServeStream(const char* method, const Request& request, Work work);
  std::optional<Fault> NextFault(const char* method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void FillHeader(const FakeMemory& memory, v1::ReplyHeader* header);

  std::string address_;
  mutable absl::Mutex mu_;
  std::map<std::string, FakeMemory> memories_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::deque<Fault>> faults_ ABSL_GUARDED_BY(mu_);
  std::vector<SeenCall> calls_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<std::string, std::map<std::string, std::string>>> metadata_ ABSL_GUARDED_BY(mu_);  // by method
  std::set<std::string> held_ ABSL_GUARDED_BY(mu_);  // methods
  int late_to_keep_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<v1::TrainStepRequest> late_ ABSL_GUARDED_BY(mu_);
  std::deque<ServingStatus> serving_ ABSL_GUARDED_BY(mu_) = {ServingStatus::kServing};  // the last one stays

  std::unique_ptr<MemoryServiceImpl> memory_service_;
  std::unique_ptr<AdminServiceImpl> admin_service_;
  std::unique_ptr<HealthImpl> health_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace evoke::client
