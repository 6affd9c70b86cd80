// The log of the process, kept for a test to look at.
#pragma once

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <string>

#include "server/base/log.h"

namespace evoke::testing {

// While it lives, all lines go here; before and after, where they went. One at a time. Thread-safe.
class LogCapture {
 public:
  explicit LogCapture(LogLevel level = LogLevel::kDebug, LogFormat format = LogFormat::kJson)
      : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>("captured", sink_);
    logger->set_formatter(MakeLineFormatter(format));
    spdlog::set_default_logger(logger);
    SetLogLevel(level);
  }
  ~LogCapture() { spdlog::set_default_logger(before_); }

  std::string text() const { return sink_->text(); }
  // The first line that has `part` in it, without its end; empty: none has.
  std::string LineWith(const std::string& part) const {
    const std::string all = text();
    const size_t found = all.find(part);
    if (found == std::string::npos) return "";
    const size_t begin = found == 0 ? 0 : all.rfind('\n', found - 1) + 1;
    return all.substr(begin, all.find('\n', found) - begin);
  }

 private:
  class Sink final : public spdlog::sinks::base_sink<std::mutex> {
   public:
    std::string text() {
      const std::lock_guard<std::mutex> lock(mutex_);
      return text_;
    }

   private:
    void sink_it_(const spdlog::details::log_msg& line) override {
      spdlog::memory_buf_t buffer;
      formatter_->format(line, buffer);
      text_.append(buffer.data(), buffer.size());
    }
    void flush_() override {}

    std::string text_;
  };

  const std::shared_ptr<spdlog::logger> before_;
  const std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
};

}  // namespace evoke::testing
