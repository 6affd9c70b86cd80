// The log of the process: events with a fixed text and named fields, one line each.
//
//   Log(LogLevel::kWarn, "slow turn", {{LogKey::kMemory, name}, {LogKey::kRows, 64u}, {LogKey::kSeconds, took}});
//
//   {"ts":"2026-11-21T13:38:27.104512Z","level":"warn","msg":"slow turn","memory":"faces","rows":64,"seconds":1.3}
//   2026-11-21T13:38:27.104512Z W slow turn memory=faces rows=64 seconds=1.3
//
// The text is the same whatever happened, so that lines of a kind can be found and counted; what differs is in the
// fields, whose names are fixed here and explained in deploy/README.md. Nothing that a client or a file made up can end a
// line, begin a field or reach a terminal: values are escaped in both formats.
//
// Threads: thread-safe; a line blocks for its write to stderr. Cost: some microseconds a line, nothing below the level.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace spdlog {
class formatter;
class logger;
}  // namespace spdlog

namespace evoke {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };
enum class LogFormat : uint8_t { kText, kJson };

// Names of fields, beside "ts", "level" and "msg". A test compares them with the table of deploy/README.md.
enum class LogKey : uint8_t {
  kMemory, kMethod, kCode, kReason, kRequestId, kTraceId, kSpanId, kPrincipal, kPeer, kDryRun,
  kTurn, kCommitted, kRows, kTasks, kRequestIds, kMutations, kSeconds,
  kQueueSeconds, kProposeSeconds, kMoreSeconds, kFetchSeconds, kDecideSeconds, kCommitSeconds, kApplySeconds,
  kReplySeconds, kSuppressed, kAlarm, kDetail, kFile, kOption, kSnapshot, kBytes, kLimitBytes, kCount, kVersion, kSignal,
};
inline constexpr std::string_view kLogKeyNames[] = {
    "memory", "method", "code", "reason", "request_id", "trace_id", "span_id", "principal", "peer", "dry_run",
    "turn", "committed", "rows", "tasks", "request_ids", "mutations", "seconds",
    "queue_seconds", "propose_seconds", "more_seconds", "fetch_seconds", "decide_seconds", "commit_seconds", "apply_seconds",
    "reply_seconds", "suppressed", "alarm", "detail", "file", "option", "snapshot", "bytes", "limit_bytes", "count", "version", "signal",
};
static_assert(std::size(kLogKeyNames) == static_cast<size_t>(LogKey::kSignal) + 1);

// A field of a line. Durations are seconds.
struct LogField {
  using Value = std::variant<std::string, uint64_t, double, bool, std::vector<std::string>>;

  LogField(LogKey key, std::string_view text) : key(key), value(std::string(text)) {}
  LogField(LogKey key, absl::string_view text) : key(key), value(std::string(text)) {}
  LogField(LogKey key, const char* text) : key(key), value(std::string(text)) {}
  LogField(LogKey key, const std::string& text) : key(key), value(text) {}
  LogField(LogKey key, bool yes) : key(key), value(yes) {}
  LogField(LogKey key, std::unsigned_integral auto number) : key(key), value(uint64_t{number}) {}
  LogField(LogKey key, absl::Duration duration) : key(key), value(absl::ToDoubleSeconds(duration)) {}
  LogField(LogKey key, std::vector<std::string> texts) : key(key), value(std::move(texts)) {}

  LogKey key;
  Value value;
};
using LogFields = absl::Span<const LogField>;

// Whether a line of this level is written; for those who would have to gather its fields first.
bool LogsAt(LogLevel level);
void Log(LogLevel level, std::string_view text, LogFields fields = {});
// As above, through a logger that has a level of its own. Its sinks have a formatter of MakeLineFormatter.
void LogTo(spdlog::logger& logger, LogLevel level, std::string_view text, LogFields fields);

// Lines of all calls above, and of spdlog's own without fields, in one format.
std::unique_ptr<spdlog::formatter> MakeLineFormatter(LogFormat format);

// Lines on stderr from now on. Called once, at start.
void StartLogging(LogLevel level, LogFormat format);
void SetLogLevel(LogLevel level);
// Requires: one of debug, info, warn, error.
LogLevel LogLevelNamed(std::string_view name);

}  // namespace evoke
