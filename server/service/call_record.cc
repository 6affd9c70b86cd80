#include "server/service/call_record.h"

#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/errors.h"
#include "server/base/log.h"

namespace evoke {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr char kTraceParentKey[] = "traceparent";

// Empty when it is not there, or more than once.
std::string_view OnlyValueOf(const grpc::ServerContextBase& context, const char* key) {
  const auto [first, last] = context.client_metadata().equal_range(key);
  if (first == last || std::next(first) != last) return {};
  return {first->second.data(), first->second.size()};
}

std::string MakeRequestId(const ServiceContext& shared) {
  static std::atomic<uint64_t> count{0};
  return absl::StrCat(absl::BytesToHexString(shared.instance.substr(0, 4)), "-", ++count);
}

void Tell(const ServiceContext& shared, const CallRecord& call, std::string_view peer) {
  if (shared.observer != nullptr) shared.observer->OnCall(call.method, call.status.code(), call.latency);
  if (!LogsAt(LogLevel::kDebug)) return;
  std::vector<LogField> fields = {{LogKey::kMethod, call.method},
                                  {LogKey::kCode, absl::StatusCodeToString(call.status.code())},
                                  {LogKey::kSeconds, call.latency},
                                  {LogKey::kRequestId, call.tag.request_id}};
  const auto add = [&](LogKey key, const std::string& text) {
    if (!text.empty()) fields.emplace_back(key, text);
  };
  if (const std::optional<ErrorDetail> detail = DetailOf(call.status)) add(LogKey::kReason, detail->reason);
  add(LogKey::kDetail, std::string(call.status.message()));
  add(LogKey::kMemory, absl::StrJoin(call.admitted.memories, ","));
  add(LogKey::kPrincipal, call.admitted.principal == nullptr ? "" : call.admitted.principal->name);
  add(LogKey::kPeer, std::string(peer));
  add(LogKey::kTraceId, call.tag.trace_id);
  add(LogKey::kSpanId, call.tag.span_id);
  Log(LogLevel::kDebug, "call", fields);
}

void Audit(const ServiceContext& shared, const CallRecord& call, std::string_view peer) {
  shared.audit->Write({.principal = call.admitted.principal == nullptr ? "" : call.admitted.principal->name,
                       .peer = peer,
                       .method = call.method,
                       .memory = absl::StrJoin(call.admitted.memories, ","),
                       .dry_run = call.admitted.dry_run,
                       .code = call.status.code(),
                       .tag = call.tag});
}

}  // namespace

std::shared_ptr<const RequestTag> TakeTag(const ServiceContext& shared, grpc::ServerContextBase* context) {
  auto tag = std::make_shared<RequestTag>();
  const std::string_view id = OnlyValueOf(*context, kRequestIdKey);
  tag->request_id = IsRequestId(id) ? std::string(id) : MakeRequestId(shared);
  context->AddInitialMetadata(kRequestIdKey, tag->request_id);
  const std::string_view parent = OnlyValueOf(*context, kTraceParentKey);
  if (const std::optional<TraceParent> trace = ParseTraceParent(parent)) {
    tag->trace_id = std::string(trace->trace_id);
    tag->span_id = std::string(trace->span_id);
    context->AddInitialMetadata(kTraceParentKey, std::string(parent));
  }
  return tag;
}

void RecordCall(const ServiceContext& shared, const grpc::ServerContextBase& context, const CallRecord& call) {
  const MethodRule* rule = RuleOf(call.method);
  const bool audited = shared.audit != nullptr && rule != nullptr && rule->audited;
  const std::string peer = audited || LogsAt(LogLevel::kDebug) ? context.peer() : "";
  Tell(shared, call, peer);
  if (audited) Audit(shared, call, peer);
}

void RecordRequest(const ServiceContext& shared, const CallRecord& call) { Tell(shared, call, ""); }

}  // namespace evoke
