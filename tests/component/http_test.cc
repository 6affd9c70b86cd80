#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The whole answer to one request, headers and all.
std::string Get(int port, const std::string& target) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_EQ(send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(n));
  close(fd);
  return answer;
}

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

}  // namespace
}  // namespace evoke
