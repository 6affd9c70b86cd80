#include "server/service/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace evoke {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "test" and of "hello".
constexpr char kTest[] = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
constexpr char kHello[] = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";

std::string Error(const std::string& text) {
  const auto table = TokenTable::Parse(text, "tokens");
  return table.ok() ? "" : std::string(table.status().message());
}

TEST(TokenTableTest, FindsWhoseTokenItIs) {
  const auto table = TokenTable::Parse(absl::StrCat("# who  may  what  token\n\nalice reader faces,test-* ",
                                                    kTest, "\r\n\tbob\tadmin * ", kHello, "  # Bob's\n"),
                                       "tokens");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->size(), 2u);
  const Principal* alice = (*table)->Find("test");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->name, "alice");
  EXPECT_EQ(alice->role, Role::kReader);
  EXPECT_THAT(alice->patterns, ElementsAre("faces", "test-*"));
  const Principal* bob = (*table)->Find("hello");
  ASSERT_NE(bob, nullptr);
  EXPECT_EQ(bob->role, Role::kAdmin);
}

TEST(TokenTableTest, KnowsNeitherOtherTokensNorTheDigestsThemselves) {
  const auto table = TokenTable::Parse(absl::StrCat("alice reader * ", kTest), "tokens");
  ASSERT_TRUE(table.ok());
  for (const char* token : {"", "Test", "test ", "tes", "testt", kTest})
    EXPECT_EQ((*table)->Find(token), nullptr) << token;
}

TEST(TokenTableTest, ANameMayHaveTwoTokensWhileOneTakesOver) {
  const auto table =
      TokenTable::Parse(absl::StrCat("alice reader * ", kTest, "\nalice admin * ", kHello), "tokens");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ((*table)->Find("test")->role, Role::kReader);
  EXPECT_EQ((*table)->Find("hello")->role, Role::kAdmin);
}

TEST(TokenTableTest, EveryMistakeIsNamedWithItsLineAndNothingOfItIsQuoted) {
  const std::string error =
      Error(absl::StrCat("alice reader * s3cret\n"  // the token itself
                         "s3cret reader *\n"        // too few
                         "bob s3cret * ",
                         kTest, "\n",                                // no role
                         "carol reader faces;s3cret ", kTest, "\n",  // no pattern
                         "dave reader a,,b ", kTest, "\n",           // an empty one
                         "ok reader * ", kTest, "\n", "eve admin * ", kTest, "\n"));
  EXPECT_THAT(error, AllOf(HasSubstr("tokens:1: the fourth"), HasSubstr("tokens:2: has 3 fields"),
                           HasSubstr("tokens:3: the second"), HasSubstr("tokens:4: the third"),
                           HasSubstr("tokens:5: the third"), Not(HasSubstr("tokens:6")),
                           HasSubstr("tokens:7: the token of an earlier line")));
  EXPECT_THAT(error, AllOf(Not(HasSubstr("s3cret")), Not(HasSubstr(kTest))));
}

TEST(TokenTableTest, AFileWithoutTokensWouldLockEverybodyOut) {
  EXPECT_THAT(Error(""), HasSubstr("has no token"));
  EXPECT_THAT(Error("# soon\n"), HasSubstr("has no token"));
  EXPECT_THAT(std::string(TokenTable::Load("/nowhere/tokens").status().message()),
              HasSubstr("/nowhere/tokens"));
}

}  // namespace
}  // namespace evoke
