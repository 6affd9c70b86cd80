// The side port: metrics and probes over HTTP, for those that do not speak gRPC, and whatever pages are given to it.
//
//   /metrics          the text that Options::metrics makes
//   /livez            200 as long as the process answers
//   /readyz           200 or 503; with ?verbose a line for each check
//   everything else   what Options::pages answers
//
// It knows nothing of memories. Options' functions are called on its own threads, several at a time.
//
// Slow clients: a request must have come within ten seconds, and a page must have been taken within as many; only half of
// the threads are ever busy with pages, which get 503 beyond that, so that metrics and probes are answered all the same.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http/http_message.h"

namespace evoke {

// Liveness is not readiness: a loading server is alive.
struct Readiness {
  struct Check {
    std::string name;  // "memory faces"
    bool ok = false;
    std::string state;  // "loading: 12 of 100 slots"
  };
  bool ready = false;
  std::vector<Check> checks;
};

class HttpServer {
 public:
  struct Options {
    std::string address;  // host:port; port 0: one is chosen
    std::function<std::string()> metrics;
    std::function<Readiness()> readiness;
    // May block for as long as somebody waits for a page. Empty: there are none, 404.
    std::function<HttpResponse(const HttpRequest&)> pages;
    size_t max_body_bytes = 256 << 10;  // of a POST; beyond: 413. An embedding of 4,096 numbers has about 80 KiB
  };
  // UNAVAILABLE when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  // Finishes the requests under way; afterwards the functions are not called any more.
  virtual ~HttpServer() = default;

  virtual int port() const = 0;
};

}  // namespace evoke
