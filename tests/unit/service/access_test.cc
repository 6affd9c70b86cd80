#include "server/service/access.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<const google::protobuf::MethodDescriptor*> ServedMethods() {
  std::vector<const google::protobuf::MethodDescriptor*> methods;
  for (const auto* file : {v1::QueryRequest::descriptor()->file(), v1::StatusRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        methods.push_back(file->service(s)->method(m));
    }
  }
  return methods;
}

TEST(MethodRulesTest, EveryMethodThatIsServedHasARule) {
  const auto methods = ServedMethods();
  EXPECT_GE(methods.size(), 11u);
  for (const auto* method : methods) {
    EXPECT_NE(RuleOf(absl::StrCat(method->service()->name(), "/", method->name())), nullptr)
        << method->full_name() << " can be called by nobody: give it a line in access.cc";
  }
}

TEST(MethodRulesTest, NoMethodHasTwoRules) {
  std::set<std::string_view> seen;
  for (const MethodRule& rule : MethodRules()) EXPECT_TRUE(seen.insert(rule.method).second) << rule.method;
}

// A trainer cannot take away what others made, a reader can change nothing, and what changes memories is on
// record.
TEST(MethodRulesTest, VerbsTellTheRole) {
  for (const MethodRule& rule : MethodRules()) {
    const std::string verb(rule.method.substr(rule.method.find('/') + 1));
    const bool removes = verb.starts_with("Delete");
    const bool reads = verb == "Query" || verb == "Export" || verb == "Status" || verb == "StateHash" ||
                       verb.starts_with("Get") || verb.starts_with("List") || verb.starts_with("Describe") ||
                       verb.starts_with("Verify");
    EXPECT_EQ(rule.least == Role::kReader, reads) << rule.method;
    if (removes) {
      // A trainer clears up behind its checkpoints; the handler keeps it from what the schedule made.
      EXPECT_EQ(rule.least, verb == "DeleteSnapshot" ? Role::kTrainer : Role::kAdmin) << rule.method;
    }
    EXPECT_EQ(rule.audited, rule.method.starts_with("Admin") && !reads) << rule.method;
  }
}

TEST(MethodRulesTest, ReadmeShowsTheTable) {
  std::ifstream in(EVOKE_SERVICE_README);
  std::stringstream text;
  text << in.rdbuf();
  for (const MethodRule& rule : MethodRules()) {
    const std::string verb(rule.method.substr(rule.method.find('/') + 1));
    const std::string line = absl::StrCat("\n| ", std::string(Name(rule.least)), " | ");
    const size_t row = text.str().find(line);
    ASSERT_NE(row, std::string::npos);
    EXPECT_THAT(text.str().substr(row, text.str().find('\n', row + 1) - row), HasSubstr(verb));
  }
}

TEST(AuthorizeTest, ARoleMayDoWhatTheOnesBelowMayAndNothingAbove) {
  for (const MethodRule& rule : MethodRules()) {
    for (const Role role : {Role::kReader, Role::kTrainer, Role::kAdmin}) {
      const absl::Status status = AuthorizeMethod({.name = "x", .role = role}, rule.method);
      EXPECT_EQ(status.ok(), role >= rule.least) << rule.method << " " << Name(role);
      if (!status.ok()) {
        EXPECT_EQ(DetailOf(status)->reason, "PERMISSION_DENIED");
        EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
      }
    }
  }
}

TEST(AuthorizeTest, AMethodWithoutARuleIsClosedToAdminsToo) {
  EXPECT_FALSE(AuthorizeMethod({.role = Role::kAdmin}, "AdminService/Explode").ok());
  EXPECT_FALSE(AuthorizeMethod({.role = Role::kAdmin}, "").ok());
}

TEST(AuthorizeTest, AMemoryMustMatchOneOfThePatterns) {
  const Principal alice{.name = "alice", .patterns = {"faces", "test-*"}};
  EXPECT_TRUE(AuthorizeMemory(alice, "faces").ok());
  EXPECT_TRUE(AuthorizeMemory(alice, "test-7").ok());
  const absl::Status denied = AuthorizeMemory(alice, "faces2");
  EXPECT_EQ(denied.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(denied.message()), HasSubstr("faces,test-*"));
  EXPECT_FALSE(AuthorizeMemory({.name = "none", .role = Role::kAdmin}, "faces").ok());
}

TEST(PatternTest, StarStandsForAnyRunAndAllElseForItself) {
  for (auto [pattern, name, matches] : {std::tuple("*", "", true),
                                        {"*", "faces", true},
                                        {"faces", "faces", true},
                                        {"faces", "faces2", false},
                                        {"faces", "Faces", false},
                                        {"", "faces", false},
                                        {"face*", "face", true},
                                        {"*-dev", "a-dev-dev", true},
                                        {"a*b*c", "a-b-b-c", true},
                                        {"a*b*c", "a-c-b", false},
                                        {"**a", "ba", true},
                                        {"a.c", "abc", false},
                                        {"a?c", "abc", false}}) {
    EXPECT_EQ(MatchesPattern(pattern, name), matches) << pattern << " " << name;
  }
}

TEST(PatternTest, AHostilePatternIsNotSlow) {
  std::string pattern;
  for (int i = 0; i < 1000; ++i) pattern += "a*";
  EXPECT_FALSE(
      MatchesPattern(pattern + "b", std::string(1000, 'a')));  // hours, if stars were tried in all ways
}

TEST(NamedMemoriesTest, FindsReferencesAndNames) {
  v1::QueryRequest query;
  EXPECT_THAT(NamedMemories(query), IsEmpty());
  query.mutable_memory()->set_name("faces");
  EXPECT_THAT(NamedMemories(query), ElementsAre("faces"));
  v1::CreateMemoryRequest create;
  create.set_name("birds");
  EXPECT_THAT(NamedMemories(create), ElementsAre("birds"));
  EXPECT_THAT(NamedMemories(v1::ListMemoriesRequest()), IsEmpty());
}

// What is a text and not on this list could be the name of a memory that nobody checks.
TEST(NamedMemoriesTest, NoRequestNamesAMemoryInAnotherWay) {
  const std::set<std::string> not_memories = {"snapshot", "note", "id", "backup_folder"};
  for (const auto* method : ServedMethods()) {
    const auto* request = method->input_type();
    for (int f = 0; f < request->field_count(); ++f) {
      const auto* field = request->field(f);
      const bool text = field->type() == google::protobuf::FieldDescriptor::TYPE_STRING;
      const bool known =
          field->name() == "name" || field->name() == "new_name" || not_memories.count(field->name()) > 0;
      EXPECT_TRUE(!text || (known && !field->is_repeated())) << field->full_name();
      const bool reference = field->message_type() == v1::MemoryRef::descriptor();
      EXPECT_FALSE(reference && field->is_repeated()) << field->full_name();
    }
  }
}

}  // namespace
}  // namespace evoke
