#include "server/http/http_server.h"

#include <CivetServer.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

bool Reply(mg_connection* connection, const char* status, const char* type, const std::string& body) {
  mg_printf(connection,
            "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: "
            "no-store\r\nConnection: close\r\n\r\n",
            status, type, body.size());
  if (std::strcmp(mg_get_request_info(connection)->request_method, "HEAD") != 0) {
    mg_write(connection, body.data(), body.size());
  }
  return true;
}

constexpr const char* kText = "text/plain; charset=utf-8";

// One page: GET and HEAD only.
class Page final : public CivetHandler {
 public:
  using Handler = std::function<bool(mg_connection*)>;
  explicit Page(Handler handler) : handler_(std::move(handler)) {}
  bool handleGet(CivetServer*, mg_connection* connection) override { return handler_(connection); }
  bool handleHead(CivetServer*, mg_connection* connection) override { return handler_(connection); }

 private:
  const Handler handler_;
};

bool ReplyReadiness(mg_connection* connection, const Readiness& readiness) {
  const char* query = mg_get_request_info(connection)->query_string;
  std::string body;
  if (query != nullptr && std::strncmp(query, "verbose", 7) == 0) {
    for (const Readiness::Check& check : readiness.checks) {
      absl::StrAppend(&body, check.ok ? "[+] " : "[-] ", check.name, ": ", check.state, "\n");
    }
  }
  absl::StrAppend(&body, readiness.ready ? "ready\n" : "not ready\n");
  return Reply(connection, readiness.ready ? "200 OK" : "503 Service Unavailable", kText, body);
}

class CivetHttpServer final : public HttpServer {
 public:
  // Throws CivetException when the address cannot be listened on.
  explicit CivetHttpServer(Options options)
      : options_(std::move(options)),
        metrics_([this](mg_connection* c) {
          return Reply(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", options_.metrics());
        }),
        live_([](mg_connection* c) { return Reply(c, "200 OK", kText, "alive\n"); }),
        ready_([this](mg_connection* c) { return ReplyReadiness(c, options_.readiness()); }),
        rest_([](mg_connection* c) {
          return Reply(c, "404 Not Found", kText, "pages: /metrics /livez /readyz?verbose\n");
        }),
        server_({"listening_ports", options_.address, "num_threads", "4", "request_timeout_ms", "10000",
                 "enable_keep_alive", "no"}) {
    server_.addHandler("/metrics$", metrics_);
    server_.addHandler("/livez$", live_);
    server_.addHandler("/readyz$", ready_);
    server_.addHandler("**", rest_);
  }
  ~CivetHttpServer() override { server_.close(); }

  int port() const override {
    const std::vector<int> ports = const_cast<CivetServer&>(server_).getListeningPorts();
    return ports.empty() ? 0 : ports[0];
  }

 private:
  const Options options_;
  Page metrics_, live_, ready_, rest_;
  CivetServer server_;  // last: its threads use the pages
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  const std::string address = options.address;
  // civetweb takes numbers only.
  if (address.compare(0, 10, "localhost:") == 0) options.address = "127.0.0.1:" + address.substr(10);
  try {
    return std::make_unique<CivetHttpServer>(std::move(options));
  } catch (const CivetException& e) {
    return absl::UnavailableError(absl::StrCat("cannot listen on http ", address, ": ", e.what()));
  }
}

}  // namespace evoke
