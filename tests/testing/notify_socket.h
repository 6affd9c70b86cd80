// The socket of a service manager: what a process tells systemd arrives here.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <string>

namespace evoke::testing {

// A bound datagram socket. Thread-compatible.
class NotifySocket {
 public:
  // `address` as in NOTIFY_SOCKET: a path that is not there yet, or '@' and an abstract name.
  explicit NotifySocket(const std::string& address) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    EXPECT_LT(address.size(), sizeof name.sun_path);
    address.copy(name.sun_path, sizeof name.sun_path - 1);
    if (address[0] == '@') name.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&name), size), 0) << address;
  }
  ~NotifySocket() { close(fd_); }
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;

  // The next message, waited for up to `patience_ms`; empty when none came.
  std::string Next(int patience_ms = 60000) {
    pollfd waiting{.fd = fd_, .events = POLLIN};
    char buffer[4096];
    if (poll(&waiting, 1, patience_ms) != 1) return "";
    const ssize_t size = recv(fd_, buffer, sizeof buffer, 0);
    return std::string(buffer, size < 0 ? 0 : static_cast<size_t>(size));
  }
  // The next one that has `text`; empty when it did not come for a minute, whatever else did. What is passed over is
  // appended to `skipped`.
  std::string NextWith(const std::string& text, std::string* skipped = nullptr) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < until) {
      const std::string message = Next();
      if (message.find(text) != std::string::npos) return message;
      if (skipped != nullptr) *skipped += message + "\n";
    }
    return "";
  }

 private:
  const int fd_;
};

}  // namespace evoke::testing
