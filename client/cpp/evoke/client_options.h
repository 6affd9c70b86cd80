// How a Client reaches its server and how long it tries.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "evoke/clock.h"
#include "evoke/retry_policy.h"

namespace evoke::client {

// Files in PEM, read by Connect.
struct TlsOptions {
  std::string root_certificates;  // whom to believe; empty: the system's
  std::string certificate;        // the client's own, with its key, where the server wants one
  std::string key;
  std::string server_name;  // what the server's certificate must say; empty: the host of the address
};

struct ClientOptions {
  // "host:port" or "unix:PATH", at least one. Several are ways to the same memories: one is used until it is
  // unavailable, then the next, round and round.
  std::vector<std::string> addresses = {"127.0.0.1:7380"};
  // Of every call that names none, all its attempts and waits together; finite, > 0.
  absl::Duration deadline = absl::Seconds(30);
  // Of calls that read or write a whole memory: fork, snapshots, export. Finite, > 0. RetryPolicy's
  // attempt_timeout is not for them: cut short and repeated they would never end.
  absl::Duration long_deadline = absl::Hours(1);
  RetryPolicy retry;
  // Asynchronous calls of this client that may be underway; one more waits in its ...Async. At least 1. Each
  // mutation among them has a session of its own, of which a server keeps 1,024 a memory for all its clients.
  size_t max_async_calls = 64;
  std::optional<TlsOptions> tls;  // absent: plaintext. A unix address never has it
  // Who calls: a token, or better a file that holds it, which is read again when the server refuses what was
  // in it.
  std::string token;
  std::string token_file;
  bool allow_insecure_token =
      false;                     // send it to other machines without TLS, where whoever listens can take it
  std::shared_ptr<Clock> clock;  // null: the machine's. For tests
};

}  // namespace evoke::client
