// HTTP/1.1 as small as a test needs it: one request on a connection of its own, and the whole answer.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace evoke::testing {

// A connection to a port of this machine. Thread-compatible.
class HttpConnection {
 public:
  explicit HttpConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~HttpConnection() { close(fd_); }
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  void Send(const std::string& bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Until the server closes.
  std::string ReadAll() {
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd_, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<size_t>(n));
    return answer;
  }

 private:
  const int fd_;
};

struct HttpAnswer {
  int status = 0;
  std::string head;  // status line and headers
  std::string body;
};

struct HttpOptions {
  std::string method = "GET";
  std::string headers;  // whole lines: "Authorization: Bearer x\r\n"
  std::string host = "localhost";
  std::string body;
};

inline HttpAnswer Http(int port, const std::string& target, const HttpOptions& options = {}) {
  HttpConnection connection(port);
  std::string request = options.method + " " + target + " HTTP/1.1\r\nHost: " + options.host + "\r\n" + options.headers;
  if (!options.body.empty()) request += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
  connection.Send(request + "\r\n" + options.body);
  const std::string answer = connection.ReadAll();
  const size_t end = answer.find("\r\n\r\n");
  if (answer.compare(0, 9, "HTTP/1.1 ") != 0 || end == std::string::npos) return {.head = answer};
  return {.status = std::stoi(answer.substr(9, 3)), .head = answer.substr(0, end + 2), .body = answer.substr(end + 4)};
}

}  // namespace evoke::testing
