#include "server/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tests/testing/log_capture.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::LogCapture;

TEST(LogTest, AJsonLineIsOneObjectWithTheFieldsInTheirOrderAndTypes) {
  const LogCapture log;
  Log(LogLevel::kWarn, "slow turn",
      {{LogKey::kMemory, "faces"},
       {LogKey::kRows, 64u},
       {LogKey::kCommitted, true},
       {LogKey::kSeconds, absl::Milliseconds(1500)},
       {LogKey::kRequestIds, std::vector<std::string>{"a", "b"}}});
  EXPECT_THAT(log.text(), MatchesRegex(R"re(\{"ts":"[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z","level":"warn","msg":"slow turn",)re"
                                       R"re("memory":"faces","rows":64,"committed":true,"seconds":1.5,)re"
                                       R"re("request_ids":\["a","b"\]\}.)re"));
}

TEST(LogTest, ATextLineHasTheSameFieldsAfterItsText) {
  const LogCapture log(LogLevel::kDebug, LogFormat::kText);
  Log(LogLevel::kInfo, "stopped", {{LogKey::kMemory, "faces"}, {LogKey::kSeconds, absl::Seconds(2)}, {LogKey::kDetail, "two words"}});
  EXPECT_THAT(log.text(), MatchesRegex("[0-9-]{10}T[0-9:]{8}\\.[0-9]{6}Z I stopped memory=faces seconds=2.0 detail=\"two words\"."));
}

TEST(LogTest, NothingThatSomebodyMadeUpEndsALineBeginsAFieldOrReachesATerminal) {
  const std::string evil = "x code=OK\n2026-01-01 E \"fake\"\x1b[31m\xc2\x9b" "2J\x7f\xff";
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const LogCapture log(LogLevel::kDebug, format);
    Log(LogLevel::kInfo, evil, {{LogKey::kMemory, evil}, {LogKey::kRequestIds, std::vector<std::string>{evil}}});
    const std::string text = log.text();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    if (format == LogFormat::kJson) {
      EXPECT_TRUE(absl::StartsWith(std::string(nlohmann::json::parse(text).at("memory")), "x code=OK\n"));
    } else {
      EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
      EXPECT_THAT(text, Not(HasSubstr("\x7f")));
      EXPECT_THAT(text, HasSubstr(" memory=\"x code=OK\\n"));
    }
  }
}

TEST(LogTest, WhatIsBelowTheLevelIsNotWritten) {
  const LogCapture log(LogLevel::kWarn);
  EXPECT_FALSE(LogsAt(LogLevel::kInfo));
  EXPECT_TRUE(LogsAt(LogLevel::kWarn));
  Log(LogLevel::kInfo, "quiet", {{LogKey::kMemory, "faces"}});
  EXPECT_THAT(log.text(), IsEmpty());
}

TEST(LogTest, TheFieldsOfALineAreNotThoseOfTheNext) {
  const LogCapture log;
  Log(LogLevel::kInfo, "one", {{LogKey::kMemory, "faces"}});
  spdlog::info("two");
  const std::vector<std::string> lines = absl::StrSplit(log.text(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_FALSE(nlohmann::json::parse(lines[1]).contains("memory"));
}

TEST(LogTest, EveryFieldIsExplainedInTheRunbookAndNothingElseIs) {
  std::ifstream in(EVOKE_RUNBOOK);
  std::stringstream text;
  text << in.rdbuf();
  std::set<std::string> documented;
  bool table = false;
  for (const absl::string_view line : absl::StrSplit(text.str(), '\n')) {
    table = (table && absl::StartsWith(line, "|")) || line == "| field of a line | what |";
    if (!table || !absl::StartsWith(line, "| `")) continue;
    // The first cell names one or more: | `trace_id`, `span_id` | ... |
    const std::vector<absl::string_view> parts = absl::StrSplit(line.substr(0, line.find(" | ")), '`');
    for (size_t i = 1; i < parts.size(); i += 2) documented.emplace(parts[i]);
  }
  std::set<std::string> known = {"ts", "level", "msg"};
  for (const std::string_view name : kLogKeyNames) known.emplace(name);
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace evoke
