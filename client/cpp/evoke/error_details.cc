#include "evoke/error_details.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace evoke::client {
namespace {

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";
constexpr char kCallUrl[] =
    "evoke.client/call";  // an ErrorInfo too: its metadata holds what this library knows
constexpr char kDomain[] = "evoke";

template <typename Message>
std::optional<Message> ReadPayload(const absl::Status& status, const char* url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  Message message;
  if (!payload.has_value() || !message.ParseFromString(std::string(*payload))) return std::nullopt;
  return message;
}

uint64_t NumberOr0(const google::protobuf::Map<std::string, std::string>& map, const char* key) {
  const auto it = map.find(key);
  uint64_t number = 0;
  if (it == map.end() || !absl::SimpleAtoi(it->second, &number)) return 0;
  return number;
}

}  // namespace

std::optional<uint64_t> ErrorDetails::last_number() const {
  const auto it = metadata.find("last_number");
  uint64_t number = 0;
  if (it == metadata.end() || !absl::SimpleAtoi(it->second, &number)) return std::nullopt;
  return number;
}

ErrorDetails GetErrorDetails(const absl::Status& status) {
  ErrorDetails details;
  if (const auto info = ReadPayload<google::rpc::ErrorInfo>(status, kErrorInfoUrl)) {
    details.reason = info->reason();
    details.metadata.insert(info->metadata().begin(), info->metadata().end());
  }
  if (const auto retry = ReadPayload<google::rpc::RetryInfo>(status, kRetryInfoUrl)) {
    const absl::Duration delay =
        absl::Seconds(retry->retry_delay().seconds()) + absl::Nanoseconds(retry->retry_delay().nanos());
    details.retry_delay = std::max(delay, absl::ZeroDuration());
  }
  if (const auto call = ReadPayload<google::rpc::ErrorInfo>(status, kCallUrl)) {
    details.attempts = static_cast<int>(NumberOr0(call->metadata(), "attempts"));
    details.outcome_unknown = call->metadata().contains("outcome_unknown");
    const auto request_id = call->metadata().find("request_id");
    if (request_id != call->metadata().end()) details.request_id = request_id->second;
    const auto session = call->metadata().find("session");
    if (session != call->metadata().end()) {
      const absl::StatusOr<Id128> id = Id128::FromHex(session->second);
      if (id.ok()) details.mutation = MutationId{*id, NumberOr0(call->metadata(), "number")};
    }
  }
  return details;
}

void SetErrorDetails(const ErrorDetails& details, absl::Status* status) {
  google::rpc::ErrorInfo info;
  info.set_reason(details.reason);
  info.set_domain(kDomain);
  info.mutable_metadata()->insert(details.metadata.begin(), details.metadata.end());
  if (details.reason.empty()) {
    status->ErasePayload(kErrorInfoUrl);
  } else {
    status->SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  }

  if (details.retry_delay.has_value()) {
    google::rpc::RetryInfo retry;
    absl::Duration rest;
    retry.mutable_retry_delay()->set_seconds(
        absl::IDivDuration(*details.retry_delay, absl::Seconds(1), &rest));
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
    status->SetPayload(kRetryInfoUrl, absl::Cord(retry.SerializeAsString()));
  } else {
    status->ErasePayload(kRetryInfoUrl);
  }

  google::rpc::ErrorInfo call;
  (*call.mutable_metadata())["attempts"] = absl::StrCat(details.attempts);
  if (!details.request_id.empty()) (*call.mutable_metadata())["request_id"] = details.request_id;
  if (details.outcome_unknown) (*call.mutable_metadata())["outcome_unknown"] = "1";
  if (details.mutation.has_value()) {
    (*call.mutable_metadata())["session"] = details.mutation->session.ToHex();
    (*call.mutable_metadata())["number"] = absl::StrCat(details.mutation->number);
  }
  status->SetPayload(kCallUrl, absl::Cord(call.SerializeAsString()));
}

absl::Status StatusFromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status model;
  if (status.error_details().empty() || !model.ParseFromString(status.error_details())) return result;

  ErrorDetails details;
  for (const google::protobuf::Any& any : model.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info) && info.domain() == kDomain) {
      details.reason = info.reason();
      details.metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (any.UnpackTo(&retry)) {
      const absl::Duration delay =
          absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
      details.retry_delay = std::max(delay, absl::ZeroDuration());
    }
  }
  SetErrorDetails(details, &result);
  return result;
}

}  // namespace evoke::client
