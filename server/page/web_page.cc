#include "server/page/web_page.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/page/assets.h"
#include "server/page/caller.h"
#include "server/page/explorer.h"
#include "server/page/figure_views.h"
#include "server/service/access.h"
#include "server/service/admission.h"

namespace evoke {
namespace {

// Nothing from elsewhere, nothing inline, and no text that becomes markup.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types";

HttpResponse FromAsset(const HttpRequest& request, const Asset& asset) {
  HttpResponse response{.type = std::string(asset.type),
                        .headers = {{"ETag", std::string(asset.etag)},
                                    {"Cache-Control", "no-cache"},  // kept, but asked about: a server is upgraded
                                    {"Content-Security-Policy", kPolicy},
                                    {"Cross-Origin-Resource-Policy", "same-origin"},
                                    {"Cross-Origin-Opener-Policy", "same-origin"},
                                    {"Referrer-Policy", "no-referrer"},
                                    {"X-Content-Type-Options", "nosniff"},
                                    {"X-Frame-Options", "DENY"}}};
  for (const std::string_view known : request.Headers("if-none-match")) {
    if (known.find(asset.etag) != std::string_view::npos || known == "*") {
      response.status = 304;
      return response;
    }
  }
  response.body = asset.bytes;
  return response;
}

absl::Status NoSuchPage(const HttpRequest& request) {
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no page ", request.path),
                   {.reason = "PAGE_NOT_FOUND"});
}

template <typename Number>
absl::StatusOr<Number> ToNumber(const char* field, const std::string& text) {
  Number number;
  if (absl::SimpleAtoi(text, &number)) return number;
  return BadArgument(field, absl::StrCat(field, " is \"", text, "\", expects a whole number",
                                         std::is_signed_v<Number> ? "" : " from 0 on"));
}

// From 1 to what an answer may list.
absl::StatusOr<uint32_t> CountIn(const HttpRequest& request, const char* field) {
  const std::optional<std::string> text = request.Parameter(field);
  if (!text) return Explorer::kDefaultListed;
  EVOKE_ASSIGN_OR_RETURN(const uint32_t count, ToNumber<uint32_t>(field, *text));
  if (count == 0) return BadArgument(field, absl::StrCat(field, " is 0, expects 1 to ", Explorer::kMostListed));
  return count;
}

absl::StatusOr<Explorer::SlotsQuestion> SlotsQuestionIn(const HttpRequest& request) {
  Explorer::SlotsQuestion question;
  EVOKE_ASSIGN_OR_RETURN(question.limit, CountIn(request, "limit"));
  for (const std::string& text : request.Parameters("slot")) {
    EVOKE_ASSIGN_OR_RETURN(const uint64_t slot, ToNumber<uint64_t>("slot", text));
    question.slots.push_back(slot);
  }
  for (const std::string& text : request.Parameters("value")) {
    EVOKE_ASSIGN_OR_RETURN(const int64_t value, ToNumber<int64_t>("value", text));
    question.values.push_back(value);
  }
  if (question.slots.empty() && question.values.empty())
    return BadArgument("slot", "neither slot nor value is given, expects at least one of them");
  return question;
}

struct Embedding {
  std::vector<float> numbers;
  uint32_t count = Explorer::kDefaultListed;
};
absl::StatusOr<Embedding> EmbeddingIn(const std::string& body) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("embedding") || !json["embedding"].is_array())
    return BadArgument("embedding", "the body is no object {\"embedding\": [numbers], \"count\": 24}");
  Embedding embedding;
  for (const Json& number : json["embedding"]) {
    if (!number.is_number()) return BadArgument("embedding", "embedding holds what is no number");
    embedding.numbers.push_back(number.get<float>());
  }
  if (json.contains("count")) {
    const Json& count = json["count"];
    if (!count.is_number_unsigned() || count == 0 || count > Explorer::kMostListed)
      return BadArgument("count", absl::StrCat("count must be 1 to ", Explorer::kMostListed));
    embedding.count = count.get<uint32_t>();
  }
  return embedding;
}

}  // namespace

RequestTag WebPage::TagOf(const HttpRequest& request) {
  const std::vector<std::string_view> ids = request.Headers("x-request-id");
  if (ids.size() == 1 && IsRequestId(ids[0])) return {.request_id = std::string(ids[0])};
  return {.request_id = absl::StrCat(options_.facts.instance.substr(0, 8), "-http-", requests_.fetch_add(1) + 1)};
}

HttpResponse WebPage::Answer(const HttpRequest& request) {
  if (absl::StartsWith(request.path, "/api/")) {
    const absl::StatusOr<Json> json = Api(request);
    return json.ok() ? JsonReply(*json) : JsonError(ForClient(json.status(), "HTTP", TagOf(request)));
  }
  if (request.method == "GET") {
    if (request.path == "/statusz") return Statusz();
    if (request.path == "/configz") return Configz(request);
    const std::string_view path = request.path;
    const Asset* asset = path == "/"                              ? FindAsset("index.html")
                         : path.substr(0, 6) == "/page/"          ? FindAsset(path.substr(6))
                                                                  : nullptr;
    if (asset != nullptr) return FromAsset(request, *asset);
  }
  return {.status = 404, .body = "pages: / /metrics /livez /readyz?verbose /statusz /configz\n"};
}

HttpResponse WebPage::Statusz() const {
  StatuszInput input{.facts = options_.facts,
                     .state = ServerState(),
                     .budget = options_.shared->catalog->budget(),
                     .calls = options_.recent->Calls(),
                     .now = options_.clock->Now()};
  for (const auto& executor : options_.shared->catalog->List()) {
    input.memories.push_back(executor->figures());
    input.histories.push_back(options_.recent->TurnsOf(executor->name()));
  }
  if (options_.shared->alarms != nullptr) input.alarms = options_.shared->alarms->Active();
  return {.body = StatuszText(input), .headers = {{"X-Content-Type-Options", "nosniff"}}};
}

HttpResponse WebPage::Configz(const HttpRequest& request) const {
  const auto caller = CallerOf(request, options_.shared->auth, options_.from_anywhere);
  if (!caller.ok()) return JsonError(caller.status());
  if ((*caller)->role != Role::kAdmin) {
    return JsonError(MakeError(absl::StatusCode::kPermissionDenied, "the configuration is shown to admins",
                               {.reason = "PERMISSION_DENIED"}));
  }
  return {.body = options_.config, .headers = {{"X-Content-Type-Options", "nosniff"}}};
}

absl::StatusOr<Json> WebPage::Api(const HttpRequest& request) {
  EVOKE_ASSIGN_OR_RETURN(const auto caller, CallerOf(request, options_.shared->auth, options_.from_anywhere));
  const std::vector<std::string> parts = absl::StrSplit(request.path.substr(1), '/');  // "api", "v1", ...
  const bool get = request.method == "GET";
  if (parts.size() < 3 || parts[1] != "v1") return NoSuchPage(request);
  if (get && parts.size() == 3 && parts[2] == "status") {
    EVOKE_RETURN_IF_ERROR(AuthorizeMethod(*caller, "AdminService/Status"));
    return Status(*caller);
  }
  if (parts[2] != "memories" || parts.size() < 4 || parts.size() > 5 || parts[3].empty() || parts.back().empty())
    return NoSuchPage(request);
  const std::string& name = parts[3];
  const std::string what = parts.size() == 5 ? parts[4] : "";
  const std::string_view method = what.empty()      ? "AdminService/DescribeMemory"
                                  : what == "slots" ? "MemoryService/GetSlots"
                                                    : "MemoryService/Query";
  EVOKE_RETURN_IF_ERROR(AuthorizeMethod(*caller, method));
  EVOKE_RETURN_IF_ERROR(AuthorizeMemory(*caller, name));
  if (get && what.empty()) return Memory(name);
  if (exploring_.fetch_add(1) >= kExploringAtOnce) {
    exploring_.fetch_sub(1);
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat(kExploringAtOnce, " pages wait for their memories already"),
                     {.reason = "TOO_MANY_PAGES", .retry_delay = absl::Seconds(1)});
  }
  absl::StatusOr<Json> json = OfMemory(request, name, what);
  exploring_.fetch_sub(1);
  return json;
}

absl::StatusOr<Json> WebPage::OfMemory(const HttpRequest& request, const std::string& name,
                                       std::string_view what) const {
  const Explorer explorer(options_.shared, absl::HashOf(request.peer));
  if (request.method == "POST" && what == "query") {
    EVOKE_ASSIGN_OR_RETURN(const Embedding embedding, EmbeddingIn(request.body));
    return explorer.Ask(name, embedding.numbers, embedding.count);
  }
  if (request.method == "GET" && what == "slots") {
    EVOKE_ASSIGN_OR_RETURN(const Explorer::SlotsQuestion question, SlotsQuestionIn(request));
    return explorer.Slots(name, question);
  }
  if (request.method == "GET" && what == "neighbors") {
    const std::optional<std::string> text = request.Parameter("slot");
    if (!text) return BadArgument("slot", "slot is not given, whose neighbors are they to be?");
    EVOKE_ASSIGN_OR_RETURN(const uint64_t slot, ToNumber<uint64_t>("slot", *text));
    EVOKE_ASSIGN_OR_RETURN(const uint32_t count, CountIn(request, "count"));
    return explorer.NeighborsOf(name, slot, count);
  }
  return NoSuchPage(request);
}

absl::StatusOr<Json> WebPage::Status(const Principal& caller) const {
  const absl::Time now = options_.clock->Now();
  const ProcessFacts& facts = options_.facts;
  const Catalog::Budget budget = options_.shared->catalog->budget();
  Json json = {{"version", facts.version},
               {"commit", facts.commit},
               {"instance", facts.instance},
               {"state", ServerState()},
               {"uptime_seconds", absl::ToDoubleSeconds(now - facts.started)},
               {"simd", facts.simd},
               {"arithmetic_fingerprint", facts.arithmetic_fingerprint},
               {"config_digest", facts.config_digest},
               {"memory_budget_bytes", budget.bytes},
               {"memory_planned_bytes", budget.planned},
               {"caller", {{"name", caller.name}, {"role", std::string(Name(caller.role))}, {"memories", caller.patterns}}},
               {"alarms", Json::array()},
               {"calls", ToJson(options_.recent->Calls())},
               {"memories", Json::array()}};
  if (options_.shared->alarms != nullptr) {
    for (const Alarm& alarm : options_.shared->alarms->Active()) {
      if (alarm.memory.empty() || caller.MayName(alarm.memory)) json["alarms"].push_back(ToJson(alarm, now));
    }
  }
  for (const auto& executor : options_.shared->catalog->List()) {
    if (!caller.MayName(executor->name())) continue;
    json["memories"].push_back(ToSummary(executor->figures(), options_.recent->TurnsOf(executor->name())));
  }
  return json;
}

absl::StatusOr<Json> WebPage::Memory(const std::string& name) const {
  EVOKE_ASSIGN_OR_RETURN(const auto executor, options_.shared->catalog->Find(name, MemoryUid()));
  return ToDetails(executor->figures(), options_.recent->TurnsOf(name), options_.clock->Now());
}

const char* WebPage::ServerState() const {
  return options_.shared->draining.load()      ? "draining"
         : options_.shared->catalog->loading() ? "loading"
                                               : "serving";
}

}  // namespace evoke
