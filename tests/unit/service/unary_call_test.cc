#include "server/service/unary_call.h"

#include <gtest/gtest.h>

#include "server/base/errors.h"

namespace evoke {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1000);

TEST(WhyOverTest, ACallThatSomebodyWaitsForIsNot) {
  EXPECT_TRUE(WhyOver(kNow + absl::Milliseconds(1), kNow, false).ok());
  EXPECT_TRUE(WhyOver(absl::InfiniteFuture(), kNow, false).ok());
}

TEST(WhyOverTest, ADeadlineThatHasPassedIsToldAsSuchAlsoWhenGrpcHasCancelledTheCall) {
  for (const bool cancelled : {false, true}) {
    const absl::Status status = WhyOver(kNow, kNow, cancelled);
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(DetailOf(status)->reason, "NOT_APPLIED");
  }
}

TEST(WhyOverTest, ACallerThatHasGoneIsCancelled) {
  EXPECT_EQ(WhyOver(kNow + absl::Seconds(1), kNow, true).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace evoke
