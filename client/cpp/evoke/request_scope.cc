#include "evoke/request_scope.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"

namespace evoke::client {
namespace {

const RequestNames kNone;
thread_local const RequestNames* current_names = &kNone;

bool IsHexId(absl::string_view text) {
  return text.find_first_not_of('0') != absl::string_view::npos &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

}  // namespace

RequestScope::RequestScope(RequestNames names) : names_(std::move(names)), outer_(current_names) {
  // What comes from outside may be anything, and gRPC would not send what is no metadata.
  if (!IsRequestId(names_.request_id)) names_.request_id = outer_->request_id;
  if (!IsTraceParent(names_.traceparent)) names_.traceparent = outer_->traceparent;
  current_names = &names_;
}

RequestScope::~RequestScope() { current_names = outer_; }

const RequestNames& RequestScope::current() { return *current_names; }

bool IsRequestId(absl::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("._-:/+=@,").find(c) != absl::string_view::npos;
  });
}

bool IsTraceParent(absl::string_view text) {
  return text.size() == 55 && text.substr(0, 3) == "00-" && text[35] == '-' && text[52] == '-' &&
         IsHexId(text.substr(3, 32)) && IsHexId(text.substr(36, 16)) &&
         text.substr(53).find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

}  // namespace evoke::client
