#include "server/http/http_message.h"

namespace evoke {

std::vector<std::string_view> HttpRequest::Headers(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [header, value] : headers) {
    if (header == name) values.push_back(value);
  }
  return values;
}

std::optional<std::string> HttpRequest::Parameter(std::string_view name) const {
  const std::vector<std::string> values = Parameters(name);
  if (values.empty()) return std::nullopt;
  return values.back();
}

std::vector<std::string> HttpRequest::Parameters(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [parameter, value] : parameters) {
    if (parameter == name) values.push_back(value);
  }
  return values;
}

}  // namespace evoke
