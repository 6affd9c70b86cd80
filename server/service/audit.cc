#include "server/service/audit.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

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
    logger->set_formatter(MakeLineFormatter(LogFormat::kJson));
  }
  logger->flush_on(spdlog::level::info);
  MutexLock lock(&mu_);
  logger_ = std::move(logger);
  return absl::OkStatus();
}

void AuditLog::Write(const AuditEntry& entry) {
  std::vector<LogField> fields = {{LogKey::kPrincipal, entry.principal},
                                  {LogKey::kPeer, entry.peer},
                                  {LogKey::kMethod, entry.method},
                                  {LogKey::kMemory, entry.memory},
                                  {LogKey::kCode, absl::StatusCodeToString(entry.code)},
                                  {LogKey::kRequestId, entry.tag.request_id}};
  if (entry.dry_run) fields.emplace_back(LogKey::kDryRun, true);
  if (!entry.tag.trace_id.empty()) {
    fields.emplace_back(LogKey::kTraceId, entry.tag.trace_id);
    fields.emplace_back(LogKey::kSpanId, entry.tag.span_id);
  }
  std::shared_ptr<spdlog::logger> logger;
  {
    MutexLock lock(&mu_);
    logger = logger_;
  }
  LogTo(*logger, LogLevel::kInfo, "audit", fields);
}

}  // namespace evoke
