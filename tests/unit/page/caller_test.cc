#include "server/page/caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "test".
constexpr char kTest[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

HttpRequest From(const std::string& peer, const std::string& host = "localhost:7381") {
  return {.method = "GET", .path = "/api/v1/status", .headers = {{"host", host}}, .peer = peer};
}

std::string ReasonOf(const absl::StatusOr<std::shared_ptr<const Principal>>& caller) {
  return caller.ok() ? (*caller)->name : DetailOf(caller.status())->reason;
}

Auth WithTokens() {
  return Auth(*TokenTable::Parse(absl::StrCat("alice reader faces ", kTest), "tokens"), false);
}

TEST(CallerTest, WithTokensTheTokenDecidesWhereverItComesFrom) {
  const Auth auth = WithTokens();
  HttpRequest request = From("203.0.113.7", "evil.example");
  EXPECT_EQ(ReasonOf(CallerOf(request, &auth, false)), "UNAUTHENTICATED");
  request.headers.emplace_back("authorization", "Bearer test");
  EXPECT_EQ(ReasonOf(CallerOf(request, &auth, false)), "alice");
  request.headers.back().second = "bearer test";
  EXPECT_EQ(ReasonOf(CallerOf(request, &auth, false)), "alice");
  request.headers.back().second = "Bearer tset";
  const auto caller = CallerOf(request, &auth, true);
  EXPECT_EQ(ReasonOf(caller), "UNAUTHENTICATED");
  EXPECT_THAT(std::string(caller.status().message()), Not(HasSubstr("tset")));
}

TEST(CallerTest, TwoTokensAreNone) {
  const Auth auth = WithTokens();
  HttpRequest request = From("127.0.0.1");
  request.headers.emplace_back("authorization", "Bearer test");
  request.headers.emplace_back("authorization", "Bearer other");
  EXPECT_EQ(ReasonOf(CallerOf(request, &auth, true)), "UNAUTHENTICATED");
}

TEST(CallerTest, WithoutTokensOnlyThisMachineIsLetIn) {
  for (const char* peer : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"})
    EXPECT_EQ(ReasonOf(CallerOf(From(peer), nullptr, false)), "anonymous") << peer;
  for (const char* peer : {"10.0.0.7", "203.0.113.7", "::2", "::ffff:10.0.0.7", "128.127.0.1", ""})
    EXPECT_EQ(ReasonOf(CallerOf(From(peer), nullptr, false)), "PERMISSION_DENIED") << peer;
  EXPECT_EQ(ReasonOf(CallerOf(From("10.0.0.7"), nullptr, true)), "anonymous");
}

TEST(CallerTest, WithoutTokensANameThatSomebodyElseCanGiveIsRefused) {
  for (const char* host : {"localhost", "localhost:80", "127.0.0.1:7381", "[::1]:7381"})
    EXPECT_EQ(ReasonOf(CallerOf(From("127.0.0.1", host), nullptr, false)), "anonymous") << host;
  for (const char* host : {"evil.example", "evil.example:7381", "localhost.evil.example", "127.0.0.1.evil.example"})
    EXPECT_EQ(ReasonOf(CallerOf(From("127.0.0.1", host), nullptr, false)), "PERMISSION_DENIED") << host;
}

TEST(CallerTest, CertificatesLetNobodyInByHttp) {
  const Auth auth(nullptr, /*client_certificates=*/true);
  EXPECT_EQ(ReasonOf(CallerOf(From("127.0.0.1"), &auth, true)), "UNAUTHENTICATED");
}

}  // namespace
}  // namespace evoke
