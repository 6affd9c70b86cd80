// A built evoked on a data directory of its own, to be stopped, killed and started again.
//
//   ServerProcess server;
//   server.Start();                               // serves when it returns
//   auto client = server.Connect();               // of the C++ client library
//   server.Kill(); server.Start();                // as after a crash
//   EXPECT_EQ(server.Stop(), 0);                  // SIGTERM
//
// The data directory, the socket and what the server wrote to stderr go with this object, and the server too:
// it is killed. Thread-compatible; start it from the test's main thread (it stops when the thread that
// started it ends).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evoke/client.h"
#include "tests/integration/child_process.h"

namespace evoke::testing {

extern const char* const kEvoked;  // paths of the built programs
extern const char* const kEvokectl;
extern const char* const kEvokeInspect;

class ServerProcess {
 public:
  // Flags beside those for data directory, socket, HTTP address (loopback, port 0) and two threads.
  explicit ServerProcess(std::vector<std::string> flags = {}) : flags_(std::move(flags)) {}
  // On failure prints what the server wrote.
  ~ServerProcess();

  // Of the runs from now on.
  void SetEnvironment(std::map<std::string, std::string> variables) { environment_ = std::move(variables); }

  // Starts it, and waits until every memory is recovered. Ends the test program when that does not come
  // about.
  void Start();
  // Starts it and does not wait.
  void Launch();
  // Until gRPC health says SERVING; false when the process ends instead, or patience does.
  bool AwaitServing();
  // SIGKILL; gone when it returns.
  void Kill();
  // SIGTERM. Returns: the exit code, as ChildProcess::Wait.
  int Stop();
  int Wait() { return process_->Wait(); }
  void Signal(int signal) { process_->Signal(signal); }

  std::string address() const { return "unix:" + folder_.File("socket"); }
  std::string data_dir() const { return folder_.File("data"); }
  // Its address on TCP. Requires: it serves, with a flag "--listen=127.0.0.1:0".
  std::string tcp_address() const;
  // What it wrote to stderr, all runs together.
  std::string Log() const { return ReadWholeFile(folder_.File("log")); }
  // Port of the HTTP side of the last run. Requires: it serves.
  int http_port() const;
  // Impatient enough for a server that comes back soon.
  std::unique_ptr<client::Client> Connect() const;
  // All flags, for a second server beside this one.
  std::vector<std::string> Argv() const;

 private:
  // What stands behind `before` in the line that the last run wrote when it began to serve, as far as a
  // number goes.
  std::string NumberAfter(const std::string& before) const;

  const std::vector<std::string> flags_;
  std::map<std::string, std::string> environment_;
  const TestFolder folder_;
  std::unique_ptr<ChildProcess> process_;
};

// The answer to a GET on a port of this machine: status line, headers, body. Empty: no connection.
std::string HttpGet(int port, const std::string& path);

}  // namespace evoke::testing
