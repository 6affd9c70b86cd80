#include "server/service/status_mapping.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(ToGrpcStatusTest, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(ToGrpcStatusTest, EveryCodeKeepsItsNumber) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "m"));
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), "m");
    EXPECT_EQ(status.error_details(), "");
  }
}

TEST(ToGrpcStatusTest, CarriesReasonDomainAndMetadata) {
  const grpc::Status status =
      ToGrpcStatus(MakeError(absl::StatusCode::kFailedPrecondition, "gap",
                             {.reason = "STEP_OUT_OF_ORDER", .metadata = {{"last_number", "7"}}}));
  const google::rpc::Status details = DetailsOf(status);
  EXPECT_EQ(details.code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(details.message(), "gap");
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "STEP_OUT_OF_ORDER");
  EXPECT_EQ(info.domain(), "evoke");
  EXPECT_EQ(info.metadata().at("last_number"), "7");
}

TEST(ToGrpcStatusTest, CarriesTheDelayWhereWaitingHelps) {
  const grpc::Status status =
      ToGrpcStatus(MakeError(absl::StatusCode::kResourceExhausted, "full",
                             {.reason = "MAILBOX_FULL", .retry_delay = absl::Milliseconds(1250)}));
  const google::rpc::Status details = DetailsOf(status);
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
}

}  // namespace
}  // namespace evoke
