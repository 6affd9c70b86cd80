#include "server/base/request_tag.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

constexpr std::string_view kGood = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string With(size_t place, char c) {
  std::string text(kGood);
  text[place] = c;
  return text;
}

TEST(RequestIdTest, TakesWhatGatewaysAndPeopleMakeAndNothingThatCouldBreakALine) {
  for (const char* id : {"a", "9b2c9d1c-7a51-4d5e-9b6a-0d1f6c3b7a11", "gw/eu-1:42", "user@host+7=x,y._-", "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
    EXPECT_TRUE(IsRequestId(id)) << id;
  EXPECT_TRUE(IsRequestId(std::string(128, 'x')));
  for (const char* id : {"", "two words", "a\nb", "\"q\"", "caf\xc3\xa9", "a\x01", "{x}", "a;b"}) EXPECT_FALSE(IsRequestId(id)) << id;
  EXPECT_FALSE(IsRequestId(std::string(129, 'x')));
}

TEST(TraceParentTest, VersionZeroIsReadIntoItsIds) {
  const auto parent = ParseTraceParent(kGood);
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(parent->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parent->span_id, "00f067aa0ba902b7");
}

TEST(TraceParentTest, WhatOnlyResemblesOneIsNone) {
  EXPECT_FALSE(ParseTraceParent(""));
  EXPECT_FALSE(ParseTraceParent(kGood.substr(0, 54)));
  EXPECT_FALSE(ParseTraceParent(absl::StrCat(std::string(kGood), "-")));
  EXPECT_FALSE(ParseTraceParent("01" + std::string(kGood.substr(2)))) << "another version";
  EXPECT_FALSE(ParseTraceParent("ff" + std::string(kGood.substr(2))));
  EXPECT_FALSE(ParseTraceParent("00-" + std::string(32, '0') + "-00f067aa0ba902b7-01")) << "no trace";
  EXPECT_FALSE(ParseTraceParent("00-4bf92f3577b34da6a3ce929d0e0e4736-" + std::string(16, '0') + "-01")) << "no span";
  for (size_t place = 0; place < kGood.size(); ++place) {
    EXPECT_FALSE(ParseTraceParent(With(place, 'g'))) << place;
    EXPECT_FALSE(ParseTraceParent(With(place, 'A'))) << place;
    EXPECT_FALSE(ParseTraceParent(With(place, '\n'))) << place;
  }
}

}  // namespace
}  // namespace evoke
