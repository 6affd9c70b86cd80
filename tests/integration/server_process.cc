#include "tests/integration/server_process.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace evoke::testing {

const char* const kEvoked = EVOKE_EVOKED_PATH;
const char* const kEvokectl = EVOKE_EVOKECTL_PATH;
const char* const kEvokeInspect = EVOKE_INSPECT_PATH;

ServerProcess::~ServerProcess() {
  process_.reset();
  if (::testing::Test::HasFailure())
    std::fprintf(stderr, "--- what the server wrote\n%s---\n", Log().c_str());
}

std::vector<std::string> ServerProcess::Argv() const {
  std::vector<std::string> argv = {kEvoked,   "--data-dir",       data_dir(),    "--listen",
                                   address(), "--http-listen",    "127.0.0.1:0", "--threads",
                                   "2",       "--die-with-parent"};
  argv.insert(argv.end(), flags_.begin(), flags_.end());
  return argv;
}

void ServerProcess::Launch() {
  process_ = std::make_unique<ChildProcess>(
      ChildProcess::Command{.argv = Argv(), .environment = environment_, .err = folder_.File("log")});
}

bool ServerProcess::AwaitServing() {
  const auto client = Connect();
  const bool serves = Eventually([&] {
    if (!process_->Running()) return true;
    const auto health = client->Health("", absl::Seconds(1));
    return health.ok() && *health == client::ServingStatus::kServing;
  });
  return serves && process_->Running();
}

void ServerProcess::Start() {
  Launch();
  if (AwaitServing()) return;
  std::fprintf(stderr, "the server does not serve; it wrote:\n%s", Log().c_str());
  std::abort();
}

void ServerProcess::Kill() {
  process_->Signal(SIGKILL);
  process_->Wait();
}

int ServerProcess::Stop() {
  process_->Signal(SIGTERM);
  return process_->Wait();
}

std::string ServerProcess::NumberAfter(const std::string& before) const {
  const std::string process = ", process " + std::to_string(process_->pid());
  std::string number;
  Eventually([&] {  // health says SERVING a moment before the line is written
    const std::string log = Log();
    const size_t end = log.rfind(process);
    if (end == std::string::npos) return false;
    number = std::to_string(std::atoi(log.c_str() + log.rfind(before, end) + before.size()));
    return true;
  });
  return number;
}

int ServerProcess::http_port() const {
  return std::atoi(NumberAfter(", http 127.0.0.1:").c_str());
}

std::string ServerProcess::tcp_address() const {
  return "127.0.0.1:" + NumberAfter(address() + " 127.0.0.1:");  // in the order of the flags
}

std::unique_ptr<client::Client> ServerProcess::Connect() const {
  auto client = client::Client::Connect(
      {.addresses = {address()},
       .deadline = kPatience,
       .retry = {.initial_backoff = absl::Milliseconds(5), .max_backoff = absl::Milliseconds(50)}});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    char buffer[4096];
    for (ssize_t got; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return answer;
}

}  // namespace evoke::testing
