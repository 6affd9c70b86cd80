// What the server says that it refuses, against its options, against the runbook, and against what it refuses.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/config/option_table.h"
#include "server/server.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;

// Fields of Limits that are no option: parts of the semantics, or figures.
const std::map<std::string, uint64_t> kConstants = {
    {"max_payload_bytes", 4096}, {"max_unacknowledged", 16}, {"max_metadata_bytes", 8192}, {"memory_planned_bytes", 0}};

std::string KeyOf(const std::string& field) { return absl::StrReplaceAll(field, {{"_", "-"}}); }

class LimitsTest : public ::testing::Test {
 protected:
  LimitsTest()
      : dir_(::testing::TempDir() + "/limits-" + std::to_string(getpid()) + "-" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(dir_);
  }
  ~LimitsTest() override {
    Stop();
    std::filesystem::remove_all(dir_);
  }

  void Start(const std::vector<std::string>& flags) {
    std::vector<std::string> args = {"--data-dir", dir_, "--listen", "127.0.0.1:0", "--http-listen", "off",
                                     "--threads", "2"};
    args.insert(args.end(), flags.begin(), flags.end());
    const auto loaded = LoadConfig(args, {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    auto server = Server::Start(loaded->config);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    admin_ = v1::AdminService::NewStub(
        grpc::CreateChannel(server_->grpc_addresses()[0], grpc::InsecureChannelCredentials()));
    while (Status().state() == v1::SERVER_STATE_LOADING) std::this_thread::yield();
  }
  void Stop() {
    if (server_ == nullptr) return;
    EXPECT_TRUE(server_->Drain([] { return false; }).ok());
    server_.reset();
  }

  v1::StatusResponse Status() {
    grpc::ClientContext context;
    v1::StatusResponse response;
    EXPECT_TRUE(admin_->Status(&context, {}, &response).ok());
    return response;
  }

  v1::CreateMemoryResponse Create(const std::string& name, uint64_t capacity, bool dry_run = false) {
    v1::CreateMemoryRequest request;
    request.set_name(name);
    request.set_dry_run(dry_run);
    request.mutable_spec()->set_key_dim(64);
    request.mutable_spec()->set_capacity(capacity);
    grpc::ClientContext context;
    v1::CreateMemoryResponse response;
    status_ = admin_->CreateMemory(&context, request, &response);
    return response;
  }

  google::rpc::ErrorInfo Info() const {
    google::rpc::Status details;
    details.ParseFromString(status_.error_details());
    google::rpc::ErrorInfo info;
    if (details.details_size() > 0) details.details(0).UnpackTo(&info);
    for (const auto& detail : details.details()) EXPECT_FALSE(detail.Is<google::rpc::RetryInfo>()) << "waiting does not help";
    return info;
  }

  const std::string dir_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
  grpc::Status status_;  // of the last Create
};

TEST_F(LimitsTest, EveryLimitIsAnOptionOrAConstantAndStatusTellsWhatItIsSetTo) {
  const google::protobuf::Descriptor& limits = *v1::Limits::descriptor();
  std::vector<std::string> flags;
  std::map<std::string, uint64_t> expected = kConstants;
  for (int i = 0; i < limits.field_count(); ++i) {
    const std::string name = limits.field(i)->name();
    if (kConstants.count(name) > 0) continue;
    const auto option = std::find_if(OptionTable().begin(), OptionTable().end(),
                                     [&](const Option& o) { return o.key == KeyOf(name); });
    ASSERT_NE(option, OptionTable().end()) << name << " is neither an option nor a constant";
    // Distinct, legal and no default: rows and counts below the upper bounds, bytes above the lower ones.
    const uint64_t value = absl::EndsWith(name, "_bytes") ? (uint64_t{64} << 20) + 7 + i : uint64_t{300} + i;
    expected[name] = name == "mailbox_rows" ? 5000 : value;
    flags.push_back(absl::StrCat("--", KeyOf(name), "=", expected[name]));
  }
  Start(flags);
  const v1::StatusResponse status = Status();
  for (int i = 0; i < limits.field_count(); ++i) {
    const auto* field = limits.field(i);
    const auto* reflection = status.limits().GetReflection();
    const uint64_t told = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32
                              ? reflection->GetUInt32(status.limits(), field)
                              : reflection->GetUInt64(status.limits(), field);
    EXPECT_EQ(told, expected[field->name()]) << field->name();
  }
}

TEST_F(LimitsTest, TheRunbookNamesEveryLimitAndItsDefault) {
  std::ifstream file(std::string(EVOKE_SOURCE_DIR) + "/deploy/README.md");
  std::stringstream text;
  text << file.rdbuf();
  const google::protobuf::Descriptor& limits = *v1::Limits::descriptor();
  for (int i = 0; i < limits.field_count(); ++i) {
    const std::string name = limits.field(i)->name();
    if (kConstants.count(name) > 0) {
      EXPECT_THAT(text.str(), HasSubstr(absl::StrCat("| `", name, "` |")));
      continue;
    }
    for (const Option& option : OptionTable()) {
      if (option.key != KeyOf(name)) continue;
      EXPECT_THAT(text.str(), HasSubstr(absl::StrCat("| `", option.key, "` | ", option.fallback, " |")));
    }
  }
}

// --- the RAM budget ------------------------------------------------------------------------------------------------

TEST_F(LimitsTest, ADryRunTellsWhatAMemoryWouldTakeAndMakesNone) {
  Start({"--memory-budget-bytes=64MiB"});
  const v1::CreateMemoryResponse small = Create("", 1000, /*dry_run=*/true);
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  EXPECT_FALSE(small.created());
  EXPECT_EQ(small.spec().choose_k(), 256u);
  EXPECT_GE(small.plan().ram_bytes(), 1000 * 64 * 4);
  EXPECT_EQ(small.plan().ram_bytes(),
            small.plan().table_bytes() + small.plan().index_bytes() + small.plan().session_bytes());
  EXPECT_EQ(small.plan().budget_bytes(), uint64_t{64} << 20);
  EXPECT_TRUE(small.plan().fits());
  EXPECT_FALSE(Create("", 1'000'000, /*dry_run=*/true).plan().fits());
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(Status().memories_size(), 0);
  EXPECT_EQ(Status().limits().memory_planned_bytes(), 0u);
}

TEST_F(LimitsTest, AMemoryThatDoesNotFitTheBudgetIsRefusedWithBothNumbersBeforeItIsMade) {
  Start({"--memory-budget-bytes=64MiB"});
  const uint64_t plan = Create("a", 100'000, /*dry_run=*/true).plan().ram_bytes();
  Create("a", 100'000);
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  EXPECT_EQ(Status().limits().memory_planned_bytes(), plan);
  Create("b", 100'000);
  ASSERT_TRUE(status_.ok()) << status_.error_message();
  Create("c", 100'000);
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status_.error_message(), HasSubstr(std::to_string(plan)));
  EXPECT_EQ(Info().reason(), "MEMORY_LIMIT");
  EXPECT_EQ(Info().metadata().at("field"), "memory_budget_bytes");
  EXPECT_EQ(Info().metadata().at("observed"), std::to_string(3 * plan));
  EXPECT_EQ(Info().metadata().at("limit"), std::to_string(uint64_t{64} << 20));
  EXPECT_EQ(Status().memories_size(), 2);

  v1::DeleteMemoryRequest remove;
  remove.set_name("a");
  grpc::ClientContext context;
  v1::DeleteMemoryResponse removed;
  ASSERT_TRUE(admin_->DeleteMemory(&context, remove, &removed).ok());
  Create("c", 100'000);
  EXPECT_TRUE(status_.ok()) << status_.error_message();
}

TEST_F(LimitsTest, MemoriesThatAreThereAreLoadedWhateverTheBudget) {
  Start({});
  Create("a", 100'000);
  Stop();
  Start({"--memory-budget-bytes=1MiB"});
  const v1::StatusResponse status = Status();
  ASSERT_EQ(status.memories_size(), 1);
  EXPECT_EQ(status.memories(0).state(), v1::MEMORY_STATE_SERVING);
  EXPECT_GT(status.limits().memory_planned_bytes(), status.limits().memory_budget_bytes());
  Create("b", 16);
  EXPECT_EQ(Info().reason(), "MEMORY_LIMIT");
}

TEST_F(LimitsTest, TheDefaultBudgetIsMostOfTheRam) {
  Start({});
  EXPECT_GT(Status().limits().memory_budget_bytes(), uint64_t{64} << 20);
  Create("huge", 2'000'000'000);
  EXPECT_EQ(Info().reason(), "MEMORY_LIMIT");
}

}  // namespace
}  // namespace evoke
