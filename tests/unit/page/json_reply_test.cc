#include "server/page/json_reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/errors.h"
#include "server/page/payload_view.h"

namespace evoke {
namespace {

using ::testing::Contains;
using ::testing::Pair;

Payload Of(std::string bytes) { return {.step = Step(7), .bytes = std::move(bytes)}; }

TEST(JsonErrorTest, CarriesCodeReasonAndWhatTheClientNeeds) {
  const HttpResponse response = JsonError(
      MakeError(absl::StatusCode::kResourceExhausted, "full",
                {.reason = "MAILBOX_FULL", .metadata = {{"k", "v"}}, .retry_delay = absl::Milliseconds(1200)}));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.type, "application/json");
  EXPECT_EQ(Json::parse(response.body),
            Json::parse(R"({"error": {"code": "RESOURCE_EXHAUSTED", "reason": "MAILBOX_FULL", "message": "full",
                            "metadata": {"k": "v"}}})"));
  EXPECT_THAT(response.headers, Contains(Pair("Retry-After", "2")));
}

TEST(JsonErrorTest, TellsWhoIsNotKnownHowToBe) {
  EXPECT_THAT(JsonError(absl::UnauthenticatedError("who?")).headers,
              Contains(Pair("WWW-Authenticate", "Bearer realm=\"evoke\"")));
}

TEST(JsonReplyTest, BytesThatAreNoTextDoNotBreakIt) {
  EXPECT_TRUE(Json::accept(JsonReply({{"message", "a\xff"}}).body));
}

TEST(PayloadViewTest, ImagesAreKnownByTheirFirstBytes) {
  const Json png = ToJson(Of("\x89PNG\r\n\x1a\n..."));
  EXPECT_EQ(png["kind"], "png");
  EXPECT_EQ(png["data"], "iVBORw0KGgouLi4=");
  EXPECT_EQ(png["step"], 7);
  EXPECT_EQ(png["bytes"], 11);
  EXPECT_EQ(ToJson(Of("\xff\xd8\xff\xe0"))["kind"], "jpeg");
  EXPECT_EQ(ToJson(Of("\x89PNG"))["kind"], "bytes");
}

TEST(PayloadViewTest, WhatIsLegibleIsTextAsItIs) {
  const Json text = ToJson(Of("<b>größe</b>\n\tzwei"));
  EXPECT_EQ(text["kind"], "text");
  EXPECT_EQ(text["data"], "<b>größe</b>\n\tzwei");
}

TEST(PayloadViewTest, EverythingElseIsItsFirstBytesInHex) {
  EXPECT_EQ(ToJson(Of(std::string("a\0b", 3)))["data"], "610062");
  const Json bytes = ToJson(Of(std::string(4096, '\xfe')));
  EXPECT_EQ(bytes["kind"], "bytes");
  EXPECT_EQ(bytes["bytes"], 4096);
  EXPECT_EQ(bytes["data"].get<std::string>().size(), 512u);
}

}  // namespace
}  // namespace evoke
