// A request and a response of the side port as plain values, so that who answers need not know the HTTP library.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace evoke {

// Whole, and decoded where HTTP encodes.
struct HttpRequest {
  std::string method;  // "GET" (a HEAD is one, whose body is not sent) or "POST"
  std::string path;    // begins with '/'; without ".." and the like
  std::vector<std::pair<std::string, std::string>> parameters;  // of the query, in their order
  std::vector<std::pair<std::string, std::string>> headers;     // names in lower case; one may come again
  std::string body;
  std::string peer;  // the IP address that it came from

  // Of all headers of this name, in lower case. Valid until: the request goes.
  std::vector<std::string_view> Headers(std::string_view name) const;
  // The last parameter of this name.
  std::optional<std::string> Parameter(std::string_view name) const;
  std::vector<std::string> Parameters(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  // Beside Content-Type, Content-Length and Connection. Without a Cache-Control here: "no-store".
  std::vector<std::pair<std::string, std::string>> headers;
};

}  // namespace evoke
