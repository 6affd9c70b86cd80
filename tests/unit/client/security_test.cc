#include "evoke/security.h"

#include <fstream>

#include "evoke/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string FileWith(const std::string& text) {
  const std::string path = testing::TempDir() + "/evoke_security_test." +
                           testing::UnitTest::GetInstance()->current_test_info()->name();
  std::ofstream(path) << text;
  return path;
}

std::string Error(ClientOptions options) {
  const auto client = Client::Connect(std::move(options));
  return client.ok() ? "OK" : std::string(client.status().message());
}

TEST(SecurityTest, KnowsWhichAddressesLeaveTheMachine) {
  for (const char* address : {"unix:/s", "localhost:1", "127.0.0.1:1", "127.8.9.10:1", "[::1]:1"})
    EXPECT_TRUE(IsLocalAddress(address)) << address;
  for (const char* address :
       {"10.0.0.1:1", "127.example.com:1", "localhost.example.com:1", "[::2]:1", "0.0.0.0:1"})
    EXPECT_FALSE(IsLocalAddress(address)) << address;
}

TEST(SecurityTest, ATokenDoesNotCrossANetworkUnencryptedUnlessToldSo) {
  const std::vector<std::string> mixed = {"127.0.0.1:1", "example.com:1"};
  EXPECT_THAT(Error({.addresses = mixed, .token = "s3cret"}),
              AllOf(HasSubstr("example.com:1 unencrypted"), Not(HasSubstr("s3cret"))));
  EXPECT_EQ(Error({.addresses = mixed, .token = "s3cret", .allow_insecure_token = true}), "OK");
  EXPECT_EQ(Error({.addresses = mixed, .tls = TlsOptions(), .token = "s3cret"}), "OK");
  EXPECT_EQ(Error({.addresses = {"127.0.0.1:1"}, .token = "s3cret"}), "OK");
  EXPECT_EQ(Error({.addresses = mixed}), "OK");
}

TEST(SecurityTest, WhatIsNoTokenIsRefusedBeforeItIsSentAndNotQuoted) {
  for (const std::string token : {"s3 cret", "s3cret\nx: y", " ", "s3cr\xc3\xa9t", "s3cret\x7f"})
    EXPECT_THAT(Error({.token = token}), AllOf(HasSubstr("no token"), Not(HasSubstr("s3c")))) << token;
  EXPECT_THAT(Error({.token = "a", .token_file = "/b"}), HasSubstr("both"));
  EXPECT_THAT(Error({.token_file = "/nowhere/token"}), HasSubstr("/nowhere/token cannot be read"));
  EXPECT_THAT(Error({.token_file = FileWith("\n")}), HasSubstr("no token"));
}

TEST(SecurityTest, ATokenFileIsReadAgainWhenItsTokenWasRefused) {
  const std::string file = FileWith("old\n");
  const auto source = TokenSource::Create({.token_file = file});
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->Header(), "Bearer old");
  EXPECT_FALSE((*source)->Renew("Bearer old")) << "nothing new: asking again would not help";
  FileWith("new\n");
  EXPECT_TRUE((*source)->Renew("Bearer old"));
  EXPECT_EQ((*source)->Header(), "Bearer new");
  EXPECT_TRUE((*source)->Renew("Bearer old")) << "another caller has renewed it";
  FileWith("no token");
  EXPECT_FALSE((*source)->Renew("Bearer new"));
  EXPECT_EQ((*source)->Header(), "Bearer new");
}

TEST(SecurityTest, TlsFilesThatCannotBeUsedAreNamed) {
  EXPECT_THAT(Error({.tls = TlsOptions{.root_certificates = "/nowhere/ca"}}), HasSubstr("/nowhere/ca"));
  EXPECT_THAT(Error({.tls = TlsOptions{.certificate = FileWith("x")}}), HasSubstr("go together"));
}

}  // namespace
}  // namespace evoke::client
