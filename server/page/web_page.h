// The pages of the HTTP port: something to look at, and what it is made of as JSON.
//
//   /                                     the page (html/), which asks for a token and then for the rest
//   /api/v1/status                        the server, its calls, alarms, and the memories that the caller may name
//   /api/v1/memories/NAME                 one memory: spec, ages, the last two minutes, what it forgot
//   /api/v1/memories/NAME/slots           ?slot=3&slot=4&value=7&limit=16
//   /api/v1/memories/NAME/neighbors       ?slot=3&count=24
//   /api/v1/memories/NAME/query           POST {"embedding": [...], "count": 24}
//   /statusz                              the server as text; to everybody, as /metrics
//   /configz                              the configuration; to admins
//
// Under /api the caller is asked who it is (caller.h) and may what its role and patterns allow by gRPC. Nothing here
// changes a memory. Thread-safe; a page about slots blocks until its memory has answered (explorer.h), at most
// kExploringAtOnce of them, so that one stuck memory leaves room for the other pages.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "server/base/clock.h"
#include "server/base/request_tag.h"
#include "server/http/http_message.h"
#include "server/page/json_reply.h"
#include "server/page/recent_activity.h"
#include "server/page/statusz.h"
#include "server/service/service_context.h"

namespace evoke {

class WebPage {
 public:
  static constexpr int kExploringAtOnce = 6;

  struct Options {
    const ServiceContext* shared = nullptr;  // these three must outlive the page
    const RecentActivity* recent = nullptr;
    Clock* clock = nullptr;
    ProcessFacts facts;
    std::string config;          // what /configz shows; holds no secret
    bool from_anywhere = false;  // without tokens: not only this machine is let in
  };
  explicit WebPage(Options options) : options_(std::move(options)) {}

  HttpResponse Answer(const HttpRequest& request);

 private:
  // The caller's id, or one that the log and the answer to a bug of ours share.
  RequestTag TagOf(const HttpRequest& request);
  HttpResponse Statusz() const;
  HttpResponse Configz(const HttpRequest& request) const;
  absl::StatusOr<Json> Api(const HttpRequest& request);
  absl::StatusOr<Json> Status(const Principal& caller) const;
  absl::StatusOr<Json> Memory(const std::string& name) const;
  absl::StatusOr<Json> OfMemory(const HttpRequest& request, const std::string& name, std::string_view what) const;
  const char* ServerState() const;

  const Options options_;
  std::atomic<int> exploring_{0};  // counts, as the next one; they order nothing
  std::atomic<uint64_t> requests_{0};
};

}  // namespace evoke
