#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/mutex.h"
#include "tests/testing/http_client.h"

namespace evoke {
namespace {

using ::evoke::testing::Http;
using ::evoke::testing::HttpConnection;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

// The whole answer to one request, headers and all.
std::string Get(int port, const std::string& target) {
  const testing::HttpAnswer answer = Http(port, target);
  return answer.head + "\r\n" + answer.body;
}

// One server for all, whose pages a test says: to stop one takes the HTTP library two seconds.
class HttpPagesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto server = HttpServer::Start({.address = "127.0.0.1:0",
                                     .metrics = [] { return std::string("evoke_step 1\n"); },
                                     .readiness = [] { return Readiness{}; },
                                     .pages = [](const HttpRequest& request) { return pages_(request); },
                                     .max_body_bytes = 10});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server).release();
  }
  static void TearDownTestSuite() { delete server_; }
  static int port() { return server_->port(); }

  static HttpServer* server_;
  static std::function<HttpResponse(const HttpRequest&)> pages_;
};
HttpServer* HttpPagesTest::server_ = nullptr;
std::function<HttpResponse(const HttpRequest&)> HttpPagesTest::pages_;

TEST(HttpServerTest, ServesMetricsAndProbes) {
  Readiness readiness{.ready = false, .checks = {{"memory faces", false, "loading, 1 of 2 slots"}}};
  auto server = HttpServer::Start({.address = "127.0.0.1:0",
                                   .metrics = [] { return std::string("evoke_step 1\n"); },
                                   .readiness = [&] { return readiness; }});
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  ASSERT_GT(port, 0);
  EXPECT_THAT(Get(port, "/metrics"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("version=0.0.4"), HasSubstr("evoke_step 1\n")));
  EXPECT_THAT(Get(port, "/livez"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get(port, "/readyz"), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("\r\n\r\nnot ready\n")));
  EXPECT_THAT(Get(port, "/readyz?verbose"), HasSubstr("[-] memory faces: loading, 1 of 2 slots\n"));
  EXPECT_THAT(Get(port, "/nothing"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get(port, "/metrics/x"), StartsWith("HTTP/1.1 404"));
  readiness = {.ready = true, .checks = {{"memory faces", true, "serving"}}};
  EXPECT_THAT(Get(port, "/readyz?verbose"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("[+] memory faces: serving\nready\n")));
}

TEST(HttpServerTest, APortInUseIsAnError) {
  const auto nothing = [] { return std::string(); };
  auto first = HttpServer::Start(
      {.address = "127.0.0.1:0", .metrics = nothing, .readiness = [] { return Readiness{}; }});
  ASSERT_TRUE(first.ok());
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  auto second =
      HttpServer::Start({.address = address, .metrics = nothing, .readiness = [] { return Readiness{}; }});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
}

TEST_F(HttpPagesTest, HandsWholeRequestsToThePages) {
  HttpRequest seen;
  pages_ = [&](const HttpRequest& request) {
    seen = request;
    return HttpResponse{.status = 404, .type = "application/json", .body = "{}", .headers = {{"X-One", "1"}}};
  };
  const testing::HttpAnswer answer =
      Http(port(), "/api/a%20b?slot=3&slot=4&text=%3Cx%3E&empty",
           {.method = "POST", .headers = "Authorization: Bearer t\r\nAUTHORIZATION: again\r\n", .body = "{\"k\": 1}"});
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.head, AllOf(HasSubstr("X-One: 1\r\n"), HasSubstr("Content-Type: application/json\r\n"),
                                 HasSubstr("Cache-Control: no-store\r\n")));
  EXPECT_EQ(answer.body, "{}");
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/api/a b");
  EXPECT_EQ(seen.body, "{\"k\": 1}");
  EXPECT_EQ(seen.peer, "127.0.0.1");
  EXPECT_THAT(seen.parameters, ElementsAre(Pair("slot", "3"), Pair("slot", "4"), Pair("text", "<x>"), Pair("empty", "")));
  EXPECT_THAT(seen.Headers("authorization"), ElementsAre("Bearer t", "again"));
  EXPECT_THAT(seen.Parameters("slot"), ElementsAre("3", "4"));
  EXPECT_EQ(seen.Parameter("slot"), "4");
  EXPECT_EQ(seen.Parameter("none"), std::nullopt);
}

TEST_F(HttpPagesTest, AHeadIsAGetWithoutItsBody) {
  pages_ = [](const HttpRequest& request) { return HttpResponse{.body = request.method}; };
  const testing::HttpAnswer answer = Http(port(), "/", {.method = "HEAD"});
  EXPECT_THAT(answer.head, AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Content-Length: 3\r\n")));
  EXPECT_EQ(answer.body, "");
}

TEST_F(HttpPagesTest, ABodyThatIsTooLargeReachesNoPage) {
  std::atomic<int> asked{0};
  pages_ = [&](const HttpRequest&) {
    ++asked;
    return HttpResponse{};
  };
  EXPECT_EQ(Http(port(), "/", {.method = "POST", .body = "0123456789"}).status, 200);
  EXPECT_EQ(Http(port(), "/", {.method = "POST", .body = "0123456789a"}).status, 413);
  EXPECT_EQ(asked.load(), 1);
}

TEST_F(HttpPagesTest, ProbesAreAnsweredWhilePagesAreStuck) {
  constexpr int kPages = 12;  // half of the threads
  Mutex mu;
  CondVar changed;
  int stuck = 0;
  bool go_on = false;
  pages_ = [&](const HttpRequest&) {
    MutexLock lock(&mu);
    ++stuck;
    changed.SignalAll();
    while (!go_on && stuck <= kPages) changed.Wait(&mu);
    return HttpResponse{.body = "late"};
  };
  std::vector<std::unique_ptr<HttpConnection>> connections;
  for (int i = 0; i < kPages; ++i) {
    connections.push_back(std::make_unique<HttpConnection>(port()));
    connections.back()->Send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  {
    MutexLock lock(&mu);
    while (stuck < kPages) changed.Wait(&mu);
  }
  const testing::HttpAnswer refused = Http(port(), "/slow");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.head, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(Http(port(), "/livez").status, 200);
  EXPECT_EQ(Http(port(), "/metrics").status, 200);
  {
    MutexLock lock(&mu);
    go_on = true;
    changed.SignalAll();
  }
  for (auto& connection : connections) EXPECT_THAT(connection->ReadAll(), HasSubstr("late"));
  EXPECT_EQ(Http(port(), "/slow").status, 200);
}

}  // namespace
}  // namespace evoke
