#include "server/http/http_server.h"

#include <CivetServer.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <future>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace evoke {
namespace {

// A browser opens up to six connections, some of which it may never use, and each holds a thread until the patience is
// over; so there are more threads than anybody needs.
constexpr int kThreads = 24;
constexpr int kPagesAtOnce = kThreads / 2;
constexpr absl::Duration kPatience = absl::Seconds(10);
constexpr size_t kPieceBytes = 64 << 10;

bool IsHead(const mg_connection* connection) {
  return std::strcmp(mg_get_request_info(connection)->request_method, "HEAD") == 0;
}

bool Send(mg_connection* connection, const HttpResponse& response) {
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ",
                                  mg_get_response_code_text(connection, response.status), "\r\n");
  bool caching_said = false;
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
    caching_said |= absl::EqualsIgnoreCase(name, "cache-control");
  }
  if (!caching_said) absl::StrAppend(&head, "Cache-Control: no-store\r\n");
  if (response.status != 304) {
    absl::StrAppend(&head, "Content-Type: ", response.type, "\r\nContent-Length: ", response.body.size(), "\r\n");
  }
  absl::StrAppend(&head, "Connection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  if (IsHead(connection) || response.status == 304) return true;
  // In pieces: civetweb's own patience begins anew with every byte that the client takes.
  const absl::Time until = absl::Now() + kPatience;
  for (size_t sent = 0; sent < response.body.size() && absl::Now() < until;) {
    const int written = mg_write(connection, response.body.data() + sent,
                                 std::min(kPieceBytes, response.body.size() - sent));
    if (written <= 0) break;
    sent += static_cast<size_t>(written);
  }
  return true;
}

HttpResponse OnReadiness(mg_connection* connection, const Readiness& readiness) {
  const char* query = mg_get_request_info(connection)->query_string;
  HttpResponse response{.status = readiness.ready ? 200 : 503};
  if (query != nullptr && std::strncmp(query, "verbose", 7) == 0) {
    for (const Readiness::Check& check : readiness.checks) {
      absl::StrAppend(&response.body, check.ok ? "[+] " : "[-] ", check.name, ": ", check.state, "\n");
    }
  }
  absl::StrAppend(&response.body, readiness.ready ? "ready\n" : "not ready\n");
  return response;
}

HttpRequest HeadOf(mg_connection* connection) {
  const mg_request_info& info = *mg_get_request_info(connection);
  HttpRequest request{.method = IsHead(connection) ? "GET" : info.request_method,
                      .path = info.local_uri == nullptr ? "/" : info.local_uri,
                      .peer = info.remote_addr};
  for (int i = 0; i < info.num_headers; ++i) {
    request.headers.emplace_back(absl::AsciiStrToLower(info.http_headers[i].name), info.http_headers[i].value);
  }
  if (info.query_string != nullptr) {
    std::string query = info.query_string;  // decoded in place
    mg_header fields[MG_MAX_HEADERS];
    const int count = mg_split_form_urlencoded(query.data(), fields, MG_MAX_HEADERS);
    for (int i = 0; i < count; ++i)
      request.parameters.emplace_back(fields[i].name, fields[i].value == nullptr ? "" : fields[i].value);
  }
  return request;
}

// False: it is too large, or did not come.
bool ReadBody(mg_connection* connection, size_t max_bytes, std::string* body) {
  const long long length = mg_get_request_info(connection)->content_length;
  if (length > static_cast<long long>(max_bytes)) return false;
  const absl::Time until = absl::Now() + kPatience;
  char piece[4096];
  while (length < 0 || static_cast<long long>(body->size()) < length) {
    const int got = mg_read(connection, piece, sizeof piece);
    if (got <= 0) break;
    body->append(piece, static_cast<size_t>(got));
    if (body->size() > max_bytes || absl::Now() > until) return false;
  }
  return length < 0 || static_cast<long long>(body->size()) == length;
}

// One fixed page: GET and HEAD only.
class Page final : public CivetHandler {
 public:
  using Handler = std::function<HttpResponse(mg_connection*)>;
  explicit Page(Handler handler) : handler_(std::move(handler)) {}
  bool handleGet(CivetServer*, mg_connection* connection) override { return Send(connection, handler_(connection)); }
  bool handleHead(CivetServer* server, mg_connection* connection) override { return handleGet(server, connection); }

 private:
  const Handler handler_;
};

// Everything else.
class Pages final : public CivetHandler {
 public:
  explicit Pages(const HttpServer::Options* options) : options_(options) {}
  bool handleGet(CivetServer*, mg_connection* connection) override { return Answer(connection); }
  bool handleHead(CivetServer*, mg_connection* connection) override { return Answer(connection); }
  bool handlePost(CivetServer*, mg_connection* connection) override { return Answer(connection); }

 private:
  bool Answer(mg_connection* connection) {
    const bool room = busy_.fetch_add(1) < kPagesAtOnce;
    const bool sent = room ? Send(connection, Respond(connection))
                           : Send(connection, {.status = 503,
                                               .body = "too many pages are asked for at once\n",
                                               .headers = {{"Retry-After", "1"}}});
    busy_.fetch_sub(1);
    return sent;
  }
  HttpResponse Respond(mg_connection* connection) {
    HttpRequest request = HeadOf(connection);
    if (!options_->pages) return {.status = 404, .body = "pages: /metrics /livez /readyz?verbose\n"};
    if (request.method == "POST" && !ReadBody(connection, options_->max_body_bytes, &request.body)) {
      return {.status = 413,
              .body = absl::StrCat("a body of at most ", options_->max_body_bytes, " bytes is taken, within ",
                                   absl::FormatDuration(kPatience), "\n")};
    }
    // The library's threads have a stack of 100 kB, of which it uses a good part itself.
    try {
      return std::async(std::launch::async, options_->pages, std::cref(request)).get();
    } catch (const std::system_error&) {
      return {.status = 503, .body = "no thread can be had\n"};
    }
  }

  const HttpServer::Options* const options_;
  std::atomic<int> busy_{0};  // a count; orders nothing
};

class CivetHttpServer final : public HttpServer {
 public:
  // Throws CivetException when the address cannot be listened on.
  explicit CivetHttpServer(Options options)
      : options_(std::move(options)),
        metrics_([this](mg_connection*) {
          return HttpResponse{.type = "text/plain; version=0.0.4; charset=utf-8", .body = options_.metrics()};
        }),
        live_([](mg_connection*) { return HttpResponse{.body = "alive\n"}; }),
        ready_([this](mg_connection* c) { return OnReadiness(c, options_.readiness()); }),
        pages_(&options_),
        server_({"listening_ports", options_.address, "num_threads", absl::StrCat(kThreads), "request_timeout_ms",
                 absl::StrCat(absl::ToInt64Milliseconds(kPatience)), "enable_keep_alive", "no"}) {
    server_.addHandler("/metrics$", metrics_);
    server_.addHandler("/livez$", live_);
    server_.addHandler("/readyz$", ready_);
    server_.addHandler("**", pages_);
  }
  ~CivetHttpServer() override { server_.close(); }

  int port() const override {
    const std::vector<int> ports = const_cast<CivetServer&>(server_).getListeningPorts();
    return ports.empty() ? 0 : ports[0];
  }

 private:
  const Options options_;
  Page metrics_, live_, ready_;
  Pages pages_;
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
