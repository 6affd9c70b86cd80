#include "server/base/log.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"

namespace evoke {
namespace {

using Json = nlohmann::ordered_json;

struct LevelName {
  LogLevel level;
  std::string_view name;
  char letter;
  spdlog::level::level_enum spdlog_level;
};
constexpr LevelName kLevels[] = {{LogLevel::kDebug, "debug", 'D', spdlog::level::debug},
                                 {LogLevel::kInfo, "info", 'I', spdlog::level::info},
                                 {LogLevel::kWarn, "warn", 'W', spdlog::level::warn},
                                 {LogLevel::kError, "error", 'E', spdlog::level::err}};

const LevelName& NameOf(LogLevel level) { return kLevels[static_cast<size_t>(level)]; }
const LevelName& NameOf(spdlog::level::level_enum level) {
  for (const LevelName& known : kLevels) {
    if (level <= known.spdlog_level) return known;
  }
  return kLevels[3];  // critical
}

// Of the line that this thread is writing: spdlog has no fields, and formats in the thread that logs.
thread_local LogFields current_fields;

std::string DumpJson(const Json& value) {
  // A message may quote bytes of a file or a client; what is no UTF-8 is replaced.
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ToJson(const LogField::Value& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

// As it is, but for what could end the line or drive a terminal: controls, also those of U+0080 to U+009F.
void AppendPlain(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xe0) == 0x80;
    if (byte >= 0x20 && byte != 0x7f && !c1) {
      *out += text[i];
    } else {
      absl::StrAppend(out, "\\x", absl::Hex(byte, absl::kZeroPad2));
    }
  }
}

bool IsBare(std::string_view text) {
  constexpr std::string_view kPunctuation = "._-:/+@,%*[]";
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && kPunctuation.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

std::string ToText(const LogField::Value& value) {
  std::string text;
  if (const auto* one = std::get_if<std::string>(&value)) {
    text = *one;
  } else if (const auto* several = std::get_if<std::vector<std::string>>(&value)) {
    text = absl::StrJoin(*several, ",");
  } else {
    return DumpJson(ToJson(value));
  }
  if (IsBare(text)) return text;
  std::string quoted;
  AppendPlain(DumpJson(text), &quoted);  // JSON leaves U+007F and above as they are
  return quoted;
}

class LineFormatter final : public spdlog::formatter {
 public:
  explicit LineFormatter(LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const std::string_view text(line.payload.data(), line.payload.size());
    const std::string time =
        absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", absl::FromChrono(line.time), absl::UTCTimeZone());
    std::string whole = format_ == LogFormat::kJson ? JsonLine(time, NameOf(line.level), text)
                                                    : TextLine(time, NameOf(line.level), text);
    whole += '\n';
    out.append(whole.data(), whole.data() + whole.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<LineFormatter>(format_); }

 private:
  static std::string JsonLine(const std::string& time, const LevelName& level, std::string_view text) {
    Json object = {{"ts", time}, {"level", level.name}, {"msg", text}};
    for (const LogField& field : current_fields)
      object[std::string(kLogKeyNames[static_cast<size_t>(field.key)])] = ToJson(field.value);
    return DumpJson(object);
  }
  static std::string TextLine(const std::string& time, const LevelName& level, std::string_view text) {
    std::string out = absl::StrCat(time, " ", absl::string_view(&level.letter, 1), " ");
    AppendPlain(text, &out);
    for (const LogField& field : current_fields)
      out.append(" ").append(kLogKeyNames[static_cast<size_t>(field.key)]).append("=").append(ToText(field.value));
    return out;
  }

  const LogFormat format_;
};

}  // namespace

bool LogsAt(LogLevel level) { return spdlog::default_logger_raw()->should_log(NameOf(level).spdlog_level); }

void LogTo(spdlog::logger& logger, LogLevel level, std::string_view text, LogFields fields) {
  current_fields = fields;
  logger.log(NameOf(level).spdlog_level, spdlog::string_view_t(text.data(), text.size()));
  current_fields = {};
}

void Log(LogLevel level, std::string_view text, LogFields fields) {
  LogTo(*spdlog::default_logger_raw(), level, text, fields);
}

std::unique_ptr<spdlog::formatter> MakeLineFormatter(LogFormat format) {
  return std::make_unique<LineFormatter>(format);
}

void StartLogging(LogLevel level, LogFormat format) {
  auto logger = std::make_shared<spdlog::logger>("evoked", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(MakeLineFormatter(format));
  logger->set_level(NameOf(level).spdlog_level);
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(logger);
}

void SetLogLevel(LogLevel level) { spdlog::default_logger()->set_level(NameOf(level).spdlog_level); }

LogLevel LogLevelNamed(std::string_view name) {
  for (const LevelName& known : kLevels) {
    if (known.name == name) return known.level;
  }
  EVOKE_CHECK(false);
  return LogLevel::kInfo;
}

}  // namespace evoke
