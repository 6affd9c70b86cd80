// Tokens before a built evoked: who is let in, to which methods and memories, what is on record, and what is
// never said.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/service/access.h"
#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kRoles[] = {"reader", "trainer", "admin"};

std::string TokenOf(const std::string& who) {
  return "s3cret-token-of-" + who;
}

std::string Line(const std::string& who, const std::string& role, const std::string& memories) {
  const std::string token = TokenOf(who);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest);
  return absl::StrCat(who, " ", role, " ", memories, " ",
                      absl::BytesToHexString({reinterpret_cast<char*>(digest), sizeof digest}), "\n");
}

RawClientOptions Bearer(const std::string& token) {
  return {.metadata = {{"authorization", "Bearer " + token}}};
}

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() {
    std::string lines = "# for a test\n";
    for (const char* role : kRoles) absl::StrAppend(&lines, Line(role, role, "*"));
    WriteTokens(lines + Line("alice", "trainer", "faces,face-*"));
    server_.Start();
  }
  // Whatever a test did, none of it may have told a secret.
  ~AccessTest() override {
    const std::string said = server_.Log() + ReadWholeFile(audit_path());
    EXPECT_THAT(said, Not(HasSubstr("s3cret")));
    EXPECT_THAT(said, Not(HasSubstr(Line("admin", "", "").substr(8, 64))));
  }

  void WriteTokens(const std::string& lines) { WriteWholeFile(folder_.File("tokens"), lines); }
  void Reload(const std::string& until_log_has) {
    const size_t before = server_.Log().size();
    server_.Signal(SIGHUP);
    EXPECT_TRUE(Eventually([&] { return server_.Log().find(until_log_has, before) != std::string::npos; }));
  }
  RawClient As(const std::string& who) const { return RawClient(server_.address(), Bearer(TokenOf(who))); }
  std::string audit_path() const { return folder_.File("audit"); }
  std::vector<std::string> AuditLines() const {
    return absl::StrSplit(ReadWholeFile(audit_path()), '\n', absl::SkipEmpty());
  }

  const TestFolder folder_;
  ServerProcess server_{
      {"--tokens", folder_.File("tokens"), "--audit-log", folder_.File("audit"), "--log-level", "debug"}};
};

// "/evoke.v1.AdminService/Status" of each method that the protos have.
std::vector<const google::protobuf::MethodDescriptor*> Methods() {
  std::vector<const google::protobuf::MethodDescriptor*> methods;
  for (const auto* file : {v1::QueryRequest::descriptor()->file(), v1::StatusRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        methods.push_back(file->service(s)->method(m));
    }
  }
  return methods;
}
std::string PathOf(const google::protobuf::MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

// A request that names a memory in every field that can; empty when none can.
std::string RequestNaming(const google::protobuf::MethodDescriptor& method, const std::string& memory) {
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> request(factory.GetPrototype(method.input_type())->New());
  for (int f = 0; f < method.input_type()->field_count(); ++f) {
    const auto* field = method.input_type()->field(f);
    if (field->name() == "name" || field->name() == "new_name")
      request->GetReflection()->SetString(request.get(), field, memory);
    if (field->message_type() != nullptr && field->message_type()->name() == "MemoryRef") {
      auto* ref = request->GetReflection()->MutableMessage(request.get(), field, &factory);
      ref->GetReflection()->SetString(ref, ref->GetDescriptor()->FindFieldByName("name"), memory);
    }
  }
  return request->SerializeAsString();
}

v1::MemorySpec Spec() {
  v1::MemorySpec spec;
  spec.set_key_dim(2);
  spec.set_capacity(10);
  spec.set_durability(v1::DURABILITY_MEMORY);
  return spec;
}

TEST_F(AccessTest, EachRoleMayCallExactlyTheMethodsThatTheTableSays) {
  ASSERT_GE(Methods().size(), 11u);
  for (const auto* method : Methods()) {
    const MethodRule* rule = RuleOf(absl::StrCat(method->service()->name(), "/", method->name()));
    ASSERT_NE(rule, nullptr) << method->full_name();
    for (const char* role : kRoles) {
      SCOPED_TRACE(absl::StrCat(role, " calls ", method->full_name()));
      std::string reply;
      // An empty request: whoever is let in hears that it names no memory, or gets an answer.
      const Fault fault = As(role).CallBytes(PathOf(*method), "", &reply);
      if (*RoleNamed(role) >= rule->least) {
        EXPECT_THAT(fault.code_and_reason, AllOf(Not(HasSubstr("PERMISSION")), Not(HasSubstr("UNAUTH"))));
      } else {
        EXPECT_EQ(fault.code_and_reason, "PERMISSION_DENIED/PERMISSION_DENIED");
        EXPECT_THAT(fault.message,
                    HasSubstr(absl::StrCat("needs the role ", std::string(Name(rule->least)))));
      }
    }
  }
}

TEST_F(AccessTest, NoMethodAnswersWhoHasNoTokenOrAWrongOne) {
  const std::string right = "Bearer " + TokenOf("admin");
  const std::vector<RawClientOptions> wrong = {
      {},
      Bearer("s3cret"),
      Bearer(TokenOf("admin") + "x"),
      Bearer(""),
      {.metadata = {{"authorization", TokenOf("admin")}}},
      {.metadata = {{"authorization", "Basic " + TokenOf("admin")}}},
      {.metadata = {{"token", TokenOf("admin")}}},
      {.metadata = {{"authorization", "Bearer s3cret"}, {"authorization", right}}},
      {.metadata = {{"authorization", right}, {"authorization", right}}}};
  for (size_t i = 0; i < wrong.size(); ++i) {
    RawClient client(server_.address(), wrong[i]);
    for (const auto* method : Methods()) {
      std::string reply;
      const Fault fault = client.CallBytes(PathOf(*method), "", &reply);
      EXPECT_EQ(fault.code_and_reason, "UNAUTHENTICATED/UNAUTHENTICATED") << i << " " << method->full_name();
      EXPECT_THAT(fault.message, Not(HasSubstr("s3cret")));
    }
  }
}

TEST_F(AccessTest, HealthNeedsNoToken) {
  EXPECT_EQ(*server_.Connect()->Health(), client::ServingStatus::kServing);
}

TEST_F(AccessTest, AMemoryOutsideThePatternsIsClosedWhetherItExistsOrNot) {
  As("admin").Create("birds", Spec());
  for (const auto* method : Methods()) {
    if (RuleOf(absl::StrCat(method->service()->name(), "/", method->name()))->least == Role::kAdmin) continue;
    if (RequestNaming(*method, "birds").empty()) continue;  // it names none
    SCOPED_TRACE(method->full_name());
    std::string message;
    for (const std::string memory : {"birds", "nones"}) {
      std::string reply;
      const Fault fault = As("alice").CallBytes(PathOf(*method), RequestNaming(*method, memory), &reply);
      EXPECT_EQ(fault.code_and_reason, "PERMISSION_DENIED/PERMISSION_DENIED");
      const std::string said =
          absl::StrCat(std::vector<std::string>(absl::StrSplit(fault.message, memory))[0]);
      if (message.empty()) message = said;
      EXPECT_EQ(said, message) << "tells whether the memory exists";
    }
  }
  EXPECT_EQ(As("admin").StateHash("birds").live_slots(), 0u) << "it is still there";
}

TEST_F(AccessTest, ListsShowOnlyWhatTheCallerMayName) {
  RawClient admin = As("admin"), alice = As("alice");
  for (const char* name : {"birds", "faces", "face-7", "faces-7"}) admin.Create(name, Spec());
  v1::ListMemoriesResponse list;
  v1::StatusResponse status;
  const auto names = [](const auto& response) {
    std::vector<std::string> found;
    for (const auto& memory : response.memories()) found.push_back(memory.name());
    return found;
  };
  EXPECT_EQ(alice.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "OK");
  EXPECT_EQ(alice.Call(&v1::AdminService::Stub::Status, {}, &status).code_and_reason, "OK");
  EXPECT_THAT(names(list), ElementsAre("face-7", "faces"));
  EXPECT_THAT(names(status), ElementsAre("face-7", "faces"));
  EXPECT_EQ(admin.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "OK");
  EXPECT_EQ(list.memories_size(), 4);
}

TEST_F(AccessTest, SighupSwapsTokensWhileCallsRunWithoutAnError) {
  As("admin").Create("faces", Spec());
  std::atomic<bool> stop{false};
  std::atomic<int> calls{0};
  std::vector<std::string> faults;
  std::thread busy([&] {
    RawClient client = As("admin");
    while (!stop) {
      v1::StateHashRequest request;
      v1::StateHashResponse response;
      request.mutable_memory()->set_name("faces");
      const Fault fault = client.Call(&v1::AdminService::Stub::StateHash, request, &response);
      if (fault.code_and_reason != "OK") faults.push_back(fault.message);
      ++calls;
    }
  });
  const auto code = [&](const std::string& who) {
    v1::ListMemoriesResponse list;
    return As(who).Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason;
  };
  for (int round = 0; round < 5; ++round) {
    WriteTokens(Line("admin", "admin", "*") + Line("new", "reader", "*"));
    Reload("tokens are read count=2");
    EXPECT_EQ(code("new"), "OK");
    EXPECT_EQ(code("alice"), "UNAUTHENTICATED/UNAUTHENTICATED");
    WriteTokens(Line("admin", "admin", "*") + "new reader *\n");
    Reload(absl::StrCat(folder_.File("tokens"), ":2: has 3 fields"));
    EXPECT_EQ(code("new"), "OK") << "a wrong file changes nothing";
    WriteTokens(Line("admin", "admin", "*") + Line("alice", "reader", "*") + Line("x", "reader", "*"));
    Reload("tokens are read count=3");
    EXPECT_EQ(code("new"), "UNAUTHENTICATED/UNAUTHENTICATED");
    EXPECT_EQ(code("alice"), "OK");
  }
  const int before = calls;
  EXPECT_TRUE(Eventually([&] { return calls > before; }));
  stop = true;
  busy.join();
  EXPECT_THAT(faults, IsEmpty());
}

TEST_F(AccessTest, AServerWithTokensDoesNotBecomeOpenWhenTheyAreGone) {
  std::filesystem::remove(folder_.File("tokens"));
  Reload("reload: tokens stay as they were");
  WriteTokens("");
  Reload("reload: tokens stay as they were");
  v1::ListMemoriesResponse list;
  EXPECT_EQ(As("admin").Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "OK");
  EXPECT_EQ(
      RawClient(server_.address()).Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason,
      "UNAUTHENTICATED/UNAUTHENTICATED");
}

TEST_F(AccessTest, CallsThatChangeWhatThereIsAreOnRecordAlsoWhenRefused) {
  As("alice").Create("faces", Spec());
  v1::DeleteMemoryRequest remove;
  v1::DeleteMemoryResponse removed;
  remove.set_name("faces");
  As("alice").Call(&v1::AdminService::Stub::DeleteMemory, remove, &removed);
  RawClient(server_.address()).Call(&v1::AdminService::Stub::DeleteMemory, remove, &removed);
  v1::CreateMemoryRequest create;
  v1::CreateMemoryResponse created;
  create.set_name("line\n\"break");  // what a client makes up cannot make up a line
  As("admin").Call(&v1::AdminService::Stub::CreateMemory, create, &created);
  create.set_name("planned");
  create.set_dry_run(true);
  *create.mutable_spec() = Spec();
  As("admin").Call(&v1::AdminService::Stub::CreateMemory, create, &created);
  std::filesystem::rename(audit_path(), audit_path() + ".1");
  Reload("tokens are read");
  v1::ListMemoriesResponse list;
  As("admin").Call(&v1::AdminService::Stub::ListMemories, {}, &list);  // changes nothing: no line
  As("admin").Call(&v1::AdminService::Stub::DeleteMemory, remove, &removed);

  std::vector<std::string> found;
  const std::vector<std::string> lines = absl::StrSplit(
      ReadWholeFile(audit_path() + ".1") + ReadWholeFile(audit_path()), '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_THAT(std::string(json.at("peer")), StartsWith("unix:"));
    EXPECT_THAT(std::string(json.at("ts")), HasSubstr("T"));
    EXPECT_THAT(std::string(json.at("request_id")), Not(IsEmpty()));
    found.push_back(absl::StrCat(std::string(json.at("principal")), " ", std::string(json.at("method")), " ",
                                 std::string(json.at("memory")), " ", std::string(json.at("code")),
                                 json.contains("dry_run") ? " dry run" : ""));
  }
  EXPECT_THAT(found, ElementsAre("alice AdminService/CreateMemory faces OK",
                                 "alice AdminService/DeleteMemory  PERMISSION_DENIED",
                                 " AdminService/DeleteMemory  UNAUTHENTICATED",
                                 "admin AdminService/CreateMemory line\n\"break INVALID_ARGUMENT",
                                 "admin AdminService/CreateMemory planned OK dry run",
                                 "admin AdminService/DeleteMemory faces OK"));
  EXPECT_EQ(AuditLines().size(), 1u) << "the new file has what came after the move";
}

TEST_F(AccessTest, MetadataAboveTheLimitIsRefusedAndTheServerGoesOn) {
  RawClientOptions options = Bearer(TokenOf("admin"));
  options.metadata.emplace_back("padding", std::string(64 << 10, 'x'));
  v1::ListMemoriesResponse list;
  RawClient large(server_.address(), options);
  EXPECT_THAT(large.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason,
              StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_EQ(As("admin").Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "OK");
}

TEST_F(AccessTest, NoPageAndNoPrintedConfigurationTellsASecret) {
  const int port = server_.http_port();
  for (const char* page : {"/metrics", "/readyz?verbose", "/configz", "/statusz"})
    EXPECT_THAT(HttpGet(port, page), Not(HasSubstr("s3cret"))) << page;
  std::vector<std::string> argv = server_.Argv();
  argv.push_back("--print-config");
  const Finished printed = RunProgram(argv);
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_THAT(printed.out, AllOf(HasSubstr("tokens = \""), Not(HasSubstr("s3cret"))));
}

TEST(AccessStartTest, AWrongTokenFileEndsTheStartWithTheUsageCodeAndItsLine) {
  const TestFolder folder;
  WriteWholeFile(folder.File("tokens"), "alice admin * s3cret\n");
  for (const char* check : {"--check-config", "--log-level=info"}) {
    const Finished refused = RunProgram({kEvoked, check, "--data-dir", folder.File("data"), "--listen",
                                         "unix:" + folder.File("s"), "--tokens", folder.File("tokens")});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, AllOf(HasSubstr(folder.File("tokens") + ":1: "), Not(HasSubstr("s3cret"))));
  }
}

TEST(AccessStartTest, WithoutAFileTheAuditLinesAreInTheLogAtAnyLevel) {
  ServerProcess server({"--log-level", "error"});
  server.Start();
  RawClient(server.address()).Create("faces", Spec());
  EXPECT_THAT(server.Log(), AllOf(HasSubstr(" I audit principal=anonymous peer="), HasSubstr(" memory=faces code=OK ")));
}

}  // namespace
}  // namespace evoke::testing
