#include "server/page/json_reply.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

// As google.rpc.Code says of each.
int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

HttpResponse WithBody(int status, const Json& body) {
  return {.status = status,
          .type = "application/json",
          .body = body.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n",
          .headers = {{"X-Content-Type-Options", "nosniff"}, {"Cross-Origin-Resource-Policy", "same-origin"}}};
}

}  // namespace

HttpResponse JsonReply(const Json& body) { return WithBody(200, body); }

HttpResponse JsonError(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status).value_or(ErrorDetail());
  Json error = {{"code", absl::StatusCodeToString(status.code())},
                {"reason", detail.reason},
                {"message", std::string(status.message())},
                {"metadata", Json::object()}};
  for (const auto& [key, value] : detail.metadata) error["metadata"][key] = value;
  HttpResponse response = WithBody(HttpStatusOf(status.code()), {{"error", error}});
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"evoke\"");
  if (detail.retry_delay) {
    const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(*detail.retry_delay, absl::Seconds(1)));
    response.headers.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(seconds, 1)));
  }
  return response;
}

}  // namespace evoke
