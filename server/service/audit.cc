#include "server/service/audit.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace evoke {

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  std::unique_ptr<AuditLog> log(new AuditLog(path));
  if (absl::Status opened = log->Reopen(); !opened.ok()) return opened;
  return log;
}

absl::Status AuditLog::Reopen() {
  std::shared_ptr<spdlog::logger> logger;
  if (path_.empty()) {
    const auto& sinks = spdlog::default_logger()->sinks();
    // A logger of its own, so that no log level hides it.
    logger = std::make_shared<spdlog::logger>("audit", sinks.begin(), sinks.end());
  } else {
    try {
      logger = std::make_shared<spdlog::logger>("audit",
                                                std::make_shared<spdlog::sinks::basic_file_sink_mt>(path_));
    } catch (const spdlog::spdlog_ex& e) {
      return absl::InvalidArgumentError(absl::StrCat("audit-log: ", e.what()));
    }
    logger->set_pattern("%v");
  }
  logger->flush_on(spdlog::level::info);
  MutexLock lock(&mu_);
  logger_ = std::move(logger);
  return absl::OkStatus();
}

void AuditLog::Write(const AuditEntry& entry) {
  nlohmann::ordered_json line;
  line["time"] = absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone());
  line["principal"] = entry.principal;
  line["peer"] = entry.peer;
  line["method"] = std::string(entry.method);
  line["memory"] = entry.memory;
  line["code"] = absl::StatusCodeToString(entry.code);
  // JSON, so that no name that a client made up can look like a line of ours.
  const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::shared_ptr<spdlog::logger> logger;
  {
    MutexLock lock(&mu_);
    logger = logger_;
  }
  logger->info("{}{}", path_.empty() ? "audit " : "", text);
}

}  // namespace evoke
