// The process evoked: how it starts, refuses to, tells how it is, and stops.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <future>

#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using client::ServingStatus;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kMemoryService[] = "evoke.v1.MemoryService";
constexpr char kAdminService[] = "evoke.v1.AdminService";

// A listening TCP socket of the test's own.
class TakenPort {
 public:
  TakenPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    name_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~TakenPort() { close(fd_); }
  const std::string& name() const { return name_; }

 private:
  const int fd_;
  std::string name_;
};

client::MemorySpec Spec(client::Durability durability, uint32_t key_dim = 2, uint64_t capacity = 100) {
  return {.key_dim = key_dim, .capacity = capacity, .durability = durability};
}

client::Memory Create(client::Client& client, const std::string& name, const client::MemorySpec& spec) {
  auto created = client.CreateMemory(name, spec);
  EXPECT_TRUE(created.ok()) << created.status();
  return created->memory;
}

void Train(client::Memory memory, uint32_t rows) {
  std::vector<float> x;
  std::vector<int64_t> values;
  for (uint32_t i = 0; i < rows; ++i) {
    for (uint32_t e = 0; e < memory.key_dim(); ++e)
      x.push_back(static_cast<float>((i * 31 + e * e + 7) % 97) - 40);
    values.push_back(i);
  }
  const auto updated = memory.Update({.embeddings = client::MatrixView::Float32(x, rows), .values = values});
  EXPECT_TRUE(updated.ok()) << updated.status();
}

std::string HashOf(client::Client& client, const std::string& name) {
  auto memory = client.OpenMemory(name);
  if (!memory.ok()) return memory.status().ToString();
  const auto hash = memory->StateHash();
  return hash.ok() ? hash->state_hash + " at " + std::to_string(hash->header.step) : hash.status().ToString();
}

// Exits before it serves.
Finished RefusedStart(const ServerProcess& server, const std::vector<std::string>& flags = {}) {
  std::vector<std::string> argv = server.Argv();
  argv.insert(argv.end(), flags.begin(), flags.end());
  return RunProgram(argv);
}

// --- the configuration
// ---------------------------------------------------------------------------------------------

TEST(ConfigTest, AllMistakesAreReportedAtOnceWithTheUsageCode) {
  for (const char* check : {"--check-config", "--log-level=info"}) {
    const Finished refused = RunProgram({kEvoked, check, "--thread", "3", "--max-k", "many", "stray"},
                                        {{"EVOKE_MAX_ROWS", "0"}, {"EVOKE_LISTN", "unix:x"}});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err,
                AllOf(HasSubstr("--thread is unknown, the nearest is --threads"),
                      HasSubstr("max-k is \"many\""), HasSubstr("\"stray\""), HasSubstr("max-rows is \"0\""),
                      HasSubstr("EVOKE_LISTN"), HasSubstr("data-dir is required")));
    EXPECT_THAT(refused.out, IsEmpty());
  }
}

TEST(ConfigTest, CheckConfigOfARightOneServesNothing) {
  const TestFolder folder;
  const Finished checked = RunProgram({kEvoked, "--check-config", "--data-dir", folder.File("data")});
  EXPECT_EQ(checked.exit_code, 0) << checked.err;
  EXPECT_FALSE(std::filesystem::exists(folder.File("data")));
}

TEST(ConfigTest, PrintConfigTellsValuesAndSourcesAndIsAFileItself) {
  const TestFolder folder;
  const Finished printed = RunProgram({kEvoked, "--print-config", "--data-dir", "there", "--max-k", "17"},
                                      {{"EVOKE_THREADS", "3"}});
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_THAT(printed.out, AllOf(HasSubstr("# data-dir from flag\ndata-dir = \"there\"\n"),
                                 HasSubstr("# max-k from flag\nmax-k = \"17\"\n"),
                                 HasSubstr("# threads from environment\nthreads = \"3\"\n"),
                                 HasSubstr("# listen from default\n")));
  WriteWholeFile(folder.File("config.toml"), printed.out);
  const Finished again = RunProgram({kEvoked, "--print-config", "--config", folder.File("config.toml")});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("# threads from file\nthreads = \"3\"\n"));
}

// --- refusing to start
// ---------------------------------------------------------------------------------------------

TEST(StartTest, LockedDataDirectoryExitsWith4AndNamesTheOwner) {
  ServerProcess server;
  server.Start();
  const Finished refused = RefusedStart(server, {"--listen", server.address() + "2"});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("is in use by process "));
  const Finished inspect = RunProgram({kEvokeInspect, "--data-dir", server.data_dir(), "list"});
  EXPECT_EQ(inspect.exit_code, 4);
  EXPECT_TRUE(server.Connect()->Status().ok()) << "the owner is not disturbed";
}

TEST(StartTest, NewerFormatExitsWith3NamingBothVersions) {
  ServerProcess server;
  server.Start();
  Create(*server.Connect(), "kept", Spec(client::Durability::kFsync));
  EXPECT_EQ(server.Stop(), 0);
  const std::string format = ReadWholeFile(server.data_dir() + "/FORMAT");
  WriteWholeFile(server.data_dir() + "/FORMAT", "evoke-data 99\n");
  const Finished refused = RefusedStart(server);
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("has format 99"), HasSubstr("reads 1")));
  WriteWholeFile(server.data_dir() + "/FORMAT", "damaged");
  EXPECT_EQ(RefusedStart(server).exit_code, 3);
  WriteWholeFile(server.data_dir() + "/FORMAT", format);
  server.Start();
  EXPECT_TRUE(server.Connect()->OpenMemory("kept").ok());
}

TEST(StartTest, ForeignDirectoryIsRefusedAndLeftAlone) {
  ServerProcess server;
  std::filesystem::create_directory(server.data_dir());
  WriteWholeFile(server.data_dir() + "/thesis.txt", "mine");
  EXPECT_EQ(RefusedStart(server).exit_code, 3);
  EXPECT_EQ(ReadWholeFile(server.data_dir() + "/thesis.txt"), "mine");
}

TEST(StartTest, AddressInUseExitsWith5) {
  const TakenPort taken;
  ServerProcess server, other;
  server.Start();
  const Finished tcp = RefusedStart(other, {"--listen", taken.name()});
  EXPECT_EQ(tcp.exit_code, 5) << tcp.err;
  EXPECT_THAT(tcp.err, HasSubstr(taken.name()));
  const Finished http = RunProgram(
      {kEvoked, "--data-dir", other.data_dir(), "--listen", other.address(), "--http-listen", taken.name()});
  EXPECT_EQ(http.exit_code, 5) << http.err;
  EXPECT_THAT(http.err, HasSubstr(taken.name()));
  const Finished unix_socket = RefusedStart(other, {"--listen", server.address()});
  EXPECT_EQ(unix_socket.exit_code, 5) << unix_socket.err;
  EXPECT_TRUE(server.Connect()->Status().ok()) << "its socket was not taken away";
  other.Start();
}

// --- restarts
// ------------------------------------------------------------------------------------------------------

TEST(RestartTest, DurableMemoryComesBackAsItWasAndAnEphemeralOneIsGone) {
  ServerProcess server;
  server.Start();
  std::string fsync, wal;
  {
    const auto client = server.Connect();
    for (auto [name, durability] :
         {std::pair("fsync", client::Durability::kFsync), std::pair("wal", client::Durability::kWal),
          std::pair("ephemeral", client::Durability::kMemory)}) {
      Train(Create(*client, name, Spec(durability)), 30);
    }
    fsync = HashOf(*client, "fsync");
    wal = HashOf(*client, "wal");
    EXPECT_EQ(HashOf(*client, "ephemeral"), wal) << "the same rows, the same state";
  }
  for (const bool kill : {false, true}) {
    SCOPED_TRACE(kill ? "kill" : "stop");
    if (kill) {
      server.Kill();
    } else {
      EXPECT_EQ(server.Stop(), 0);
    }
    server.Start();
    const auto client = server.Connect();
    EXPECT_EQ(HashOf(*client, "fsync"), fsync);
    EXPECT_EQ(HashOf(*client, "wal"), wal);
    EXPECT_EQ(client->OpenMemory("ephemeral").status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(client->ListMemories()->size(), 2u);
  }
}

// gRPC by itself looks every five seconds whether a lost connection can be made again.
TEST(RestartTest, ClientNoticesSoonThatTheServerIsBack) {
  ServerProcess server;
  server.Start();
  const auto client = server.Connect();
  ASSERT_TRUE(client->Status().ok());
  server.Kill();
  EXPECT_FALSE(client->Status(absl::Milliseconds(300)).ok());
  server.Launch();
  const auto status = client->Status(absl::Seconds(4));
  EXPECT_TRUE(status.ok()) << status.status();
}

// Recovery waits at a named pipe that stands where RocksDB looks first, until the test lets it go on.
class HeldRecovery {
 public:
  explicit HeldRecovery(const std::string& data_dir) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(data_dir + "/memories")) {
      if (entry.path().filename() == "CURRENT") current_ = entry.path();
    }
    std::filesystem::rename(current_, current_ + ".real");
    EXPECT_EQ(mkfifo(current_.c_str(), 0600), 0);
    EXPECT_EQ(link(current_.c_str(), (current_ + ".held").c_str()), 0);
  }
  void Release() {
    const std::string content = ReadWholeFile(current_ + ".real");
    std::filesystem::rename(current_ + ".real",
                            current_);  // over the pipe: whoever comes later finds the file
    int fd = -1;
    EXPECT_TRUE(
        Eventually([&] { return (fd = open((current_ + ".held").c_str(), O_WRONLY | O_NONBLOCK)) >= 0; }));
    signal(SIGPIPE, SIG_IGN);
    EXPECT_TRUE(write(fd, content.data(), content.size()) >= 0 || errno == EPIPE);
    close(fd);
    std::filesystem::remove(current_ + ".held");
  }

 private:
  std::string current_;
};

TEST(RestartTest, LoadingServerIsAliveAndNotReadyUntilItsMemoriesAre) {
  ServerProcess server;
  server.Start();
  std::string before;
  {
    const auto client = server.Connect();
    Train(Create(*client, "slow", Spec(client::Durability::kFsync)), 50);
    Create(*client, "fast", Spec(client::Durability::kMemory));
    before = HashOf(*client, "slow");
    EXPECT_EQ(*client->Health(kMemoryService), ServingStatus::kServing);
    EXPECT_EQ(*client->Health(kAdminService), ServingStatus::kServing);
    EXPECT_EQ(client->Health("evoke.v1.Other").status().code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(server.Stop(), 0);

  HeldRecovery held(server.data_dir());
  server.Launch();
  const auto client = server.Connect();
  const auto status = client->Status();  // answered from the first moment on
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->state, client::ServerState::kLoading);
  ASSERT_EQ(status->memories.size(), 1u);
  EXPECT_EQ(status->memories[0].name, "slow");
  EXPECT_EQ(status->memories[0].state, client::MemoryState::kLoading);
  EXPECT_LE(status->memories[0].slots_loaded, status->memories[0].slots_to_load);
  EXPECT_EQ(*client->Health(), ServingStatus::kNotServing);
  EXPECT_EQ(*client->Health(kMemoryService), ServingStatus::kNotServing);
  EXPECT_EQ(*client->Health(kAdminService), ServingStatus::kServing);
  EXPECT_EQ(client->DescribeMemory("slow")->state, client::MemoryState::kLoading);
  EXPECT_EQ(RunProgram({kEvokectl, "-a", server.address(), "health"}).exit_code, 1);

  v1::QueryRequest query;
  v1::QueryResponse ignored;
  query.mutable_memory()->set_name("slow");
  SetMatrix({1, 0}, 1, query.mutable_embeddings());
  const Fault fault = RawClient(server.address()).Call(&v1::MemoryService::Stub::Query, query, &ignored);
  EXPECT_EQ(fault.code_and_reason, "UNAVAILABLE/LOADING");
  EXPECT_TRUE(fault.has_retry_delay);

  const int port = server.http_port();
  EXPECT_THAT(HttpGet(port, "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(
      HttpGet(port, "/readyz?verbose"),
      AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("[-] memory slow: loading"), HasSubstr("not ready")));

  // A call of the library that comes meanwhile waits for the memory and succeeds.
  auto waiting = std::async(std::launch::async, [&] { return HashOf(*server.Connect(), "slow"); });
  held.Release();
  EXPECT_EQ(waiting.get(), before);
  EXPECT_TRUE(server.AwaitServing());
  EXPECT_EQ(*client->Health(kMemoryService), ServingStatus::kServing);
  EXPECT_THAT(HttpGet(port, "/readyz"), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(client->Status()->state, client::ServerState::kServing);
}

// --- the side port
// -------------------------------------------------------------------------------------------------

TEST(HttpTest, PagesTellOfTheMemories) {
  ServerProcess server;
  server.Start();
  const auto client = server.Connect();
  Train(Create(*client, "faces", Spec(client::Durability::kFsync)), 12);
  const int port = server.http_port();
  EXPECT_THAT(HttpGet(port, "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(HttpGet(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("[+] server: serving"),
                    HasSubstr("[+] memory faces: serving")));
  // Figures follow a moment after the reply.
  Eventually([&] { return HttpGet(port, "/metrics").find("evoke_step{memory=\"faces\"} 12\n") != std::string::npos; });
  EXPECT_THAT(HttpGet(port, "/metrics"),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("evoke_step{memory=\"faces\"} 12\n"),
                    HasSubstr("evoke_slots_capacity{memory=\"faces\"} 100\n"),
                    HasSubstr("evoke_grpc_requests_total{code=\"OK\",method=\"MemoryService/Update\"} 1\n"),
                    HasSubstr("evoke_build_info{")));
  EXPECT_THAT(HttpGet(port, "/secrets"), StartsWith("HTTP/1.1 404 "));
}

// --- SIGHUP
// --------------------------------------------------------------------------------------------------------

TEST(ReloadTest, SighupTakesOverLimitsAndLogLevelAndNamesWhatNeedsARestart) {
  const TestFolder folder;
  const std::string file = folder.File("config.toml");
  WriteWholeFile(file, "max-rows = 8\nmailbox-rows = 64\nlog-level = \"info\"\n");
  ServerProcess server({"--config", file});
  server.Start();
  const auto client = server.Connect();
  client::Memory memory = Create(*client, "m", Spec(client::Durability::kMemory));
  Train(memory, 8);
  const auto reload = [&](const std::string& text, const std::string& until_log_has) {
    WriteWholeFile(file, text);
    const size_t before = server.Log().size();
    server.Signal(SIGHUP);
    EXPECT_TRUE(Eventually([&] { return server.Log().find(until_log_has, before) != std::string::npos; }));
  };
  reload("max-rows = 7\nmailbox-rows = 65\nlog-level = \"info\"\n", "takes effect at the next start option=mailbox-rows");
  EXPECT_TRUE(Eventually([&] { return client->Status()->limits.max_rows == 7; }));
  EXPECT_EQ(client->Status()->limits.mailbox_rows, 64u);
  const std::vector<float> x(16, 1);
  const std::vector<int64_t> values(8, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(
      memory.Update({.embeddings = client::MatrixView::Float32(x, 8), .values = values}).status()));

  reload("max-rows = \"many\"\n", "the configuration stays as it was");
  EXPECT_EQ(client->Status()->limits.max_rows, 7u);

  reload("max-rows = 8\nmailbox-rows = 64\nlog-level = \"error\"\n", "SIGHUP");
  EXPECT_TRUE(Eventually([&] { return client->Status()->limits.max_rows == 8; }));
  const size_t before = server.Log().size();
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_EQ(server.Log().size(), before) << "a stop is told at level info";
}

// --- stopping
// ------------------------------------------------------------------------------------------------------

TEST(StopTest, SigtermFinishesWhatIsInFlightRefusesWhatIsNewAndExitsWith0) {
  ServerProcess server({"--max-message-bytes", "256MiB"});
  server.Start();
  const auto client = server.Connect();
  // A batch against 10,000 slots takes long enough to be seen at work: 10^8 similarities of 64 dimensions.
  constexpr uint32_t kRows = 10'000;
  client::Memory memory = Create(*client, "busy", Spec(client::Durability::kFsync, 64, 2 * kRows));
  client::Memory idle = Create(*client, "idle", Spec(client::Durability::kFsync));
  Train(memory, kRows);
  auto in_flight = std::async(std::launch::async, [&] { Train(memory, kRows); });
  // A memory does one turn at a time: when a call on it gets no answer within this time, the batch is in its
  // turn.
  ASSERT_TRUE(Eventually([&] { return !memory.StateHash({.deadline = absl::Milliseconds(50)}).ok(); }));
  server.Signal(SIGTERM);
  EXPECT_TRUE(Eventually([&] {
    const auto health = client->Health("", absl::Seconds(1));
    return !health.ok() || *health == ServingStatus::kNotServing;
  }));
  const float x[] = {1, 0};
  const int64_t value[] = {1};
  const auto refused = idle.Update({.embeddings = client::MatrixView::Float32(x, 1), .values = value},
                                   {.deadline = absl::Milliseconds(100)});
  EXPECT_FALSE(refused.ok());
  in_flight.get();  // expects OK
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.Log(), AllOf(HasSubstr("SIGTERM: stopping"), Not(HasSubstr("cut off"))));

  server.Start();
  EXPECT_EQ(client->OpenMemory("busy")->StateHash()->header.step, 2 * kRows) << "it was applied, once";
  EXPECT_EQ(client->OpenMemory("idle")->StateHash()->header.step, 0u);
}

TEST(StopTest, SigintStopsAnIdleServerToo) {
  ServerProcess server;
  server.Start();
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.Log(), HasSubstr("SIGINT: stopping"));
  server.Start();
}

}  // namespace
}  // namespace evoke::testing
