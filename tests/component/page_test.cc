// The pages of a whole server in this process, over real HTTP: what is told, to whom, and that it is what gRPC tells.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "server/server.h"
#include "tests/testing/http_client.h"

namespace evoke {
namespace {

using ::evoke::testing::Http;
using ::evoke::testing::HttpAnswer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr char kPng[] = "\x89PNG\r\n\x1a\nimage";

template <typename T>
std::string Raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

std::string TokenLine(const std::string& who, const std::string& role, const std::string& memories) {
  const std::string token = "token-of-" + who;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest);
  return absl::StrCat(who, " ", role, " ", memories, " ",
                      absl::BytesToHexString({reinterpret_cast<char*>(digest), sizeof digest}), "\n");
}

// A server with two memories, one for each suite: to stop one takes the HTTP library two seconds.
class Running {
 public:
  Running(const std::string& name, bool tokens)
      : dir_(::testing::TempDir() + "/evoke-page-" + std::to_string(getpid()) + "-" + name), tokens_(tokens) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    std::vector<std::string> flags = {"--data-dir", dir_ + "/data", "--listen", "127.0.0.1:0", "--http-listen",
                                      "127.0.0.1:0", "--threads", "2"};
    if (tokens) {
      std::ofstream(dir_ + "/tokens") << TokenLine("root", "admin", "*") << TokenLine("rita", "reader", "faces,f*");
      flags.insert(flags.end(), {"--tokens", dir_ + "/tokens"});
    }
    const auto config = LoadConfig(flags, {});
    EXPECT_TRUE(config.ok()) << config.status();
    auto server = Server::Start(config->config);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const std::string& http = server_->http_address();
    port_ = std::stoi(http.substr(http.rfind(':') + 1));
    const auto channel = grpc::CreateChannel(server_->grpc_addresses()[0], grpc::InsecureChannelCredentials());
    memory_ = v1::MemoryService::NewStub(channel);
    admin_ = v1::AdminService::NewStub(channel);
    Create("faces", 4);
    Create("birds", 4);
    // Slots 0 to 3; slot 0 is reinforced once. The sixth observation finds no free slot.
    Train({1, 0, 0, 0, 1, 0}, {7, 8}, {kPng, "text of 8"});
    Train({.9f, 0, .1f}, {7}, {std::string("\0\1", 2)});
    Train({0, 0, 1, -1, 0, 0}, {9, 10}, {"nine", "<b>ten</b>"});
    Train({0, -1, 0}, {11}, {"eleven"});
    while (Get("/api/v1/memories/faces")["step"] != 6) std::this_thread::yield();  // figures follow the reply
  }
  ~Running() {
    server_.reset();
    std::filesystem::remove_all(dir_);
  }

  int port() const { return port_; }
  Json Get(const std::string& target, int status = 200, testing::HttpOptions options = {}) const {
    if (tokens_ && options.headers.empty()) options.headers = "Authorization: Bearer token-of-root\r\n";
    const HttpAnswer answer = Http(port_, target, options);
    EXPECT_EQ(answer.status, status) << answer.head << answer.body;
    EXPECT_THAT(answer.head, AllOf(HasSubstr("Content-Type: application/json"), HasSubstr("Cache-Control: no-store")));
    return Json::parse(answer.body, nullptr, false);
  }
  std::string Reason(const std::string& target, int status, testing::HttpOptions options = {}) const {
    const Json json = Get(target, status, options);
    return json.contains("error") ? json["error"]["reason"].get<std::string>() : "none";
  }
  template <typename Request, typename Response>
  Response Call(grpc::Status (v1::MemoryService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request) {
    grpc::ClientContext context;
    Prepare(&context);
    Response response;
    const grpc::Status status = (memory_.get()->*method)(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

 private:
  void Prepare(grpc::ClientContext* context) const {
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (tokens_) context->AddMetadata("authorization", "Bearer token-of-root");
  }
  void Create(const std::string& name, uint64_t capacity) {
    grpc::ClientContext context;
    Prepare(&context);
    v1::CreateMemoryRequest request;
    request.set_name(name);
    request.mutable_spec()->set_key_dim(3);
    request.mutable_spec()->set_capacity(capacity);
    request.mutable_spec()->set_age_noise(0);
    v1::CreateMemoryResponse response;
    EXPECT_TRUE(admin_->CreateMemory(&context, request, &response).ok());
  }
  void Train(const std::vector<float>& rows, const std::vector<int64_t>& values, const std::vector<std::string>& payloads) {
    v1::UpdateRequest request;
    request.mutable_memory()->set_name("faces");
    v1::Matrix* matrix = request.mutable_embeddings();
    matrix->set_data(Raw(rows));
    matrix->set_dtype(v1::DTYPE_FLOAT32);
    matrix->set_rows(static_cast<uint32_t>(values.size()));
    matrix->set_dim(3);
    request.set_values(Raw(values));
    request.mutable_mutation()->set_session(std::string(16, 's'));
    request.mutable_mutation()->set_number(++number_);
    for (const std::string& payload : payloads) request.add_payloads(payload);
    Call(&v1::MemoryService::Stub::Update, request);
  }

  const std::string dir_;
  const bool tokens_;
  int port_ = 0;
  uint64_t number_ = 0;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::MemoryService::Stub> memory_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

template <bool kTokens>
class PageSuite : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { running_ = new Running(kTokens ? "tokens" : "open", kTokens); }
  static void TearDownTestSuite() { delete running_; }
  static Running* running_;
};
template <bool kTokens>
Running* PageSuite<kTokens>::running_ = nullptr;

using PageTest = PageSuite<false>;
using PageTokensTest = PageSuite<true>;

std::vector<uint64_t> Slots(const Json& list) {
  std::vector<uint64_t> slots;
  for (const Json& one : list) slots.push_back(one["slot"]);
  return slots;
}

TEST_F(PageTest, StatusTellsServerMemoriesAndCalls) {
  const Json status = running_->Get("/api/v1/status");
  EXPECT_EQ(status["version"], Version());
  EXPECT_EQ(status["state"], "serving");
  EXPECT_EQ(status["caller"], Json::parse(R"({"name": "anonymous", "role": "admin", "memories": ["*"]})"));
  ASSERT_EQ(status["memories"].size(), 2u);
  const Json faces = status["memories"][1];
  EXPECT_EQ(faces["name"], "faces");
  EXPECT_EQ(faces["live_slots"], 4);
  EXPECT_EQ(faces["capacity"], 4);
  EXPECT_EQ(faces["step"], 6);
  EXPECT_EQ(status["calls"].size(), 2u) << "CreateMemory and Update; a page is no call";
}

TEST_F(PageTest, AMemoryTellsWhatItForgotAndForWhat) {
  const Json faces = running_->Get("/api/v1/memories/faces");
  ASSERT_EQ(faces["evictions"].size(), 1u);
  const Json eviction = faces["evictions"][0];
  EXPECT_EQ(eviction["slot"], 1);  // slot 0 was written again after it
  EXPECT_EQ(eviction["old_value"], "8");
  EXPECT_EQ(eviction["new_value"], "11");
  EXPECT_EQ(eviction["age"], 4);
  EXPECT_EQ(eviction["step"], 6);
  EXPECT_EQ(faces["spec"]["key_dim"], 3);
  EXPECT_EQ(faces["seconds"]["hits"].size(), 120u);
}

TEST_F(PageTest, SlotsAreReadByNumberAndByValue) {
  const Json slots = running_->Get("/api/v1/memories/faces/slots?slot=0&slot=3&value=9&value=8&limit=3");
  EXPECT_THAT(Slots(slots["slots"]), ElementsAre(0, 3));
  const Json first = slots["slots"][0];
  EXPECT_EQ(first["value"], "7");
  EXPECT_EQ(first["hits"], 1);
  EXPECT_EQ(first["age"], 3);
  EXPECT_EQ(first["payloads"][0]["kind"], "png");
  EXPECT_EQ(first["payloads"][0]["data"], absl::Base64Escape(kPng));
  EXPECT_EQ(first["payloads"][1]["kind"], "bytes");
  EXPECT_EQ(first["payloads"][1]["data"], "0001");
  EXPECT_EQ(slots["values"][0]["live_slots"], 1);
  EXPECT_THAT(Slots(slots["values"][0]["slots"]), ElementsAre(2));
  EXPECT_EQ(slots["values"][1]["live_slots"], 0) << "evicted";
}

TEST_F(PageTest, NeighborsOfASlotLeaveItOutAndAnswerAsQueryDoes) {
  const Json near = running_->Get("/api/v1/memories/faces/neighbors?slot=0&count=2");
  EXPECT_EQ(near["slot"]["slot"], 0);
  EXPECT_EQ(near["answer"]["value"], "7");
  EXPECT_EQ(near["answer"]["neighbors"], 4);
  EXPECT_EQ(near["values_and_similarities"].size(), 3u);
  ASSERT_THAT(Slots(near["neighbors"]), ElementsAre(2, 1));  // slot 0 leans towards (0, 0, 1); slot 1 is across
  EXPECT_GT(near["neighbors"][0]["similarity"], near["neighbors"][1]["similarity"]);
  EXPECT_EQ(near["neighbors"][0]["payloads"][0]["data"], "nine");
  EXPECT_EQ(near["neighbors"][0]["payloads_known"], true);
}

TEST_F(PageTest, AnEmbeddingIsAnsweredBitForBitAsByGrpc) {
  const std::vector<float> embedding = {.5f, .25f, 3};
  v1::QueryRequest query;
  query.mutable_memory()->set_name("faces");
  query.mutable_embeddings()->set_data(Raw(embedding));
  query.mutable_embeddings()->set_dtype(v1::DTYPE_FLOAT32);
  query.mutable_embeddings()->set_rows(1);
  query.mutable_embeddings()->set_dim(3);
  query.set_neighbors(true);
  const auto reply = running_->Call(&v1::MemoryService::Stub::Query, query);
  const Json answer =
      running_->Get("/api/v1/memories/faces/query", 200, {.method = "POST", .body = R"({"embedding": [0.5, 0.25, 3]})"});
  float confidence, similarity;
  std::memcpy(&confidence, reply.confidences().data(), sizeof confidence);
  std::memcpy(&similarity, reply.neighbor_similarities().data(), sizeof similarity);
  EXPECT_EQ(answer["answer"]["value"], "9");
  EXPECT_EQ(answer["answer"]["confidence"].get<float>(), confidence);
  EXPECT_EQ(answer["neighbors"][0]["similarity"].get<float>(), similarity);
  EXPECT_EQ(answer["neighbors"].size(), 4u);
}

TEST_F(PageTest, WhatIsWrongIsRefusedWithTheReasonsOfTheApi) {
  EXPECT_EQ(running_->Reason("/api/v1/memories/nobody", 404), "MEMORY_NOT_FOUND");
  EXPECT_EQ(running_->Reason("/api/v1/memories/faces/neighbors?slot=4", 400), "BAD_ARGUMENT");
  EXPECT_EQ(running_->Reason("/api/v1/memories/birds/neighbors?slot=0", 404), "SLOT_FREE");
  for (const char* query : {"slots", "slots?slot=-1", "slots?slot=1x", "slots?value=9223372036854775808", "slots?slot=0&limit=0",
                            "neighbors", "neighbors?slot=0&count=0", "neighbors?slot=0&count=-1"}) {
    EXPECT_EQ(running_->Reason(absl::StrCat("/api/v1/memories/faces/", query), 400), "BAD_ARGUMENT") << query;
  }
  for (const char* query : {"slots?value=1&limit=65", "slots?value=1&value=2&value=3", "neighbors?slot=0&count=65"})
    EXPECT_EQ(running_->Reason(absl::StrCat("/api/v1/memories/faces/", query), 400), "TOO_LARGE") << query;
  const auto ask = [&](const std::string& body) {
    return running_->Reason("/api/v1/memories/faces/query", 400, {.method = "POST", .body = body});
  };
  for (const char* body : {"{", "[1, 2, 3]", "{}", R"({"embedding": "x"})", R"({"embedding": [1, "2", 3]})",
                           R"({"embedding": [1, 2, 3], "count": 0})", R"({"embedding": [1, 2, 3], "count": 65})"}) {
    EXPECT_EQ(ask(body), "BAD_ARGUMENT") << body;
  }
  EXPECT_EQ(ask(std::string(200000, '[')), "BAD_ARGUMENT");
  EXPECT_EQ(ask(R"({"embedding": [1, 2]})"), "BAD_SHAPE");
  EXPECT_EQ(ask(R"({"embedding": [0, 0, 0]})"), "BAD_NORM");
  EXPECT_EQ(ask(R"({"embedding": [1e300, 0, 0]})"), "NON_FINITE");
  for (const char* path : {"/api/", "/api/v1", "/api/v1/memories", "/api/v1/memories/", "/api/v2/status", "/api/v1/status/x",
                           "/api/v1/memories/faces/", "/api/v1/memories/faces/delete", "/api/v1/memories/faces/slots/x"}) {
    EXPECT_EQ(running_->Reason(path, 404), "PAGE_NOT_FOUND") << path;
  }
  EXPECT_EQ(running_->Reason("/api/v1/status", 404, {.method = "POST", .body = "{}"}), "PAGE_NOT_FOUND");
}

TEST_F(PageTest, WithoutTokensANameOfSomebodyElsesDnsIsRefused) {
  EXPECT_EQ(running_->Reason("/api/v1/status", 403, {.host = "evil.example"}), "PERMISSION_DENIED");
}

TEST_F(PageTest, ThePageNeedsNothingFromElsewhereAndIsAskedForOnce) {
  const HttpAnswer page = Http(running_->port(), "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.head, AllOf(HasSubstr("Content-Security-Policy: default-src 'none';"), Not(HasSubstr("unsafe")),
                               HasSubstr("X-Frame-Options: DENY"), HasSubstr("Cache-Control: no-cache")));
  std::vector<std::string> waiting = {page.body}, seen;
  // Whatever is named, by the page and by what it names, is there and comes from here.
  const std::regex reference(R"re((?:src|href)="(/page/[^"]+)"|from "\./([^"]+)")re");
  for (size_t i = 0; i < waiting.size(); ++i) {
    EXPECT_THAT(waiting[i], AllOf(Not(HasSubstr("https://")), Not(HasSubstr("innerHTML")), Not(HasSubstr("localStorage"))));
    for (std::sregex_iterator it(waiting[i].begin(), waiting[i].end(), reference), end; it != end; ++it) {
      const std::string path = (*it)[1].matched ? (*it)[1].str() : "/page/" + (*it)[2].str();
      if (std::count(seen.begin(), seen.end(), path) > 0) continue;
      seen.push_back(path);
      const HttpAnswer asset = Http(running_->port(), path);
      EXPECT_EQ(asset.status, 200) << path;
      waiting.push_back(asset.body);
      const size_t at = asset.head.find("ETag: ") + 6;
      const std::string etag = asset.head.substr(at, asset.head.find('\r', at) - at);
      const HttpAnswer again = Http(running_->port(), path, {.headers = "If-None-Match: " + etag + "\r\n"});
      EXPECT_EQ(again.status, 304) << path;
      EXPECT_EQ(again.body, "");
      EXPECT_EQ(Http(running_->port(), path, {.headers = "If-None-Match: \"x\"\r\n"}).status, 200);
    }
  }
  EXPECT_EQ(seen.size(), 9u) << ::testing::PrintToString(seen);
  for (const char* path : {"/page/", "/page/nothing.js", "/page/../server.cc", "/index.html"})
    EXPECT_EQ(Http(running_->port(), path).status, 404) << path;
}

TEST_F(PageTest, StatuszIsTheServerAsText) {
  const HttpAnswer statusz = Http(running_->port(), "/statusz");
  EXPECT_EQ(statusz.status, 200);
  EXPECT_THAT(statusz.body, AllOf(StartsWith(absl::StrCat("evoked ", Version())), HasSubstr("serving"), HasSubstr("faces"),
                                  HasSubstr("alarms: 0"), HasSubstr("MemoryService/Update")));
  const Json status = running_->Get("/api/v1/status");
  EXPECT_THAT(statusz.body, AllOf(HasSubstr(status["instance"].get<std::string>()),
                                  HasSubstr(status["config_digest"].get<std::string>()),
                                  HasSubstr(status["simd"].get<std::string>())));
  EXPECT_THAT(Http(running_->port(), "/configz").body, HasSubstr("# threads from flag\nthreads = \"2\"\n"));
}

TEST_F(PageTokensTest, NobodySeesAnythingOfAMemoryWithoutAToken) {
  for (const char* target : {"/api/v1/status", "/api/v1/memories/faces", "/api/v1/memories/faces/slots?slot=0",
                             "/api/v1/memories/faces/neighbors?slot=0", "/api/v1/memories/nobody", "/api/nothing"}) {
    for (const char* header : {"X: y\r\n", "Authorization: Bearer wrong\r\n", "Authorization: Basic token-of-root\r\n"}) {
      EXPECT_EQ(running_->Reason(target, 401, {.headers = header}), "UNAUTHENTICATED") << target << header;
    }
  }
  EXPECT_THAT(Http(running_->port(), "/api/v1/status").head, HasSubstr("WWW-Authenticate: Bearer realm=\"evoke\""));
  EXPECT_EQ(Http(running_->port(), "/configz").status, 401);
  // What was open stays open, and the page itself holds nothing.
  for (const char* target : {"/", "/metrics", "/livez", "/readyz", "/statusz"})
    EXPECT_EQ(Http(running_->port(), target).status, 200) << target;
}

TEST_F(PageTokensTest, AReaderSeesTheMemoriesThatItsPatternsAllow) {
  const testing::HttpOptions rita{.headers = "Authorization: Bearer token-of-rita\r\n"};
  const Json status = running_->Get("/api/v1/status", 200, rita);
  ASSERT_EQ(status["memories"].size(), 1u);
  EXPECT_EQ(status["memories"][0]["name"], "faces");
  EXPECT_EQ(status["caller"]["role"], "reader");
  running_->Get("/api/v1/memories/faces", 200, rita);
  running_->Get("/api/v1/memories/faces/neighbors?slot=0", 200, rita);
  for (const char* rest : {"", "/slots?slot=0", "/neighbors?slot=0"}) {
    EXPECT_EQ(running_->Reason(absl::StrCat("/api/v1/memories/birds", rest), 403, rita), "PERMISSION_DENIED");
    // Not told whether there is such a memory.
    EXPECT_EQ(running_->Reason(absl::StrCat("/api/v1/memories/nobody", rest), 403, rita), "PERMISSION_DENIED");
  }
  EXPECT_EQ(running_->Reason("/api/v1/memories/birds/query", 403,
                             {.method = "POST", .headers = rita.headers, .body = R"({"embedding": [1, 2, 3]})"}),
            "PERMISSION_DENIED");
  EXPECT_EQ(Http(running_->port(), "/configz", rita).status, 403);
}

TEST_F(PageTokensTest, AnAdminSeesAllAndTheConfigurationButNoSecret) {
  EXPECT_EQ(running_->Get("/api/v1/status")["memories"].size(), 2u);
  const HttpAnswer config = Http(running_->port(), "/configz", {.headers = "Authorization: Bearer token-of-root\r\n"});
  EXPECT_EQ(config.status, 200);
  EXPECT_THAT(config.body, AllOf(HasSubstr("/tokens\""), Not(HasSubstr("token-of"))));
}

}  // namespace
}  // namespace evoke
