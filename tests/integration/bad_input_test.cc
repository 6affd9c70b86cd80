// What clients get wrong, over the wire: each mistake its code and reason, and the memory as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"
#include "tests/testing/random_log.h"

namespace evoke::testing {
namespace {

using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

template <typename Request>
struct Mistake {
  const char* what;
  std::function<void(Request*)> make;
  const char* code_and_reason;
  const char* field = "";  // in the metadata; empty: not looked at
};

// One server for all: nothing here changes it.
class BadInputTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new ServerProcess(
        {"--max-rows", "100", "--max-k", "50", "--max-message-bytes", "256KiB", "--mailbox-rows", "100"});
    server_->Start();
    client_ = new RawClient(server_->address());
    client_->Create("faces", Spec());
    v1::TrainStepResponse response;
    ASSERT_EQ(client_->Call(&v1::MemoryService::Stub::TrainStep, Step(), &response).code_and_reason, "OK");
    before_ = client_->StateHash("faces").SerializeAsString();
  }
  static void TearDownTestSuite() {
    delete client_;
    delete server_;
  }
  void TearDown() override { EXPECT_EQ(client_->StateHash("faces").SerializeAsString(), before_); }

  static v1::MemorySpec Spec() {
    v1::MemorySpec spec;
    spec.set_key_dim(4);
    spec.set_capacity(64);
    spec.set_choose_k(10);
    return spec;
  }
  template <typename Request>
  static Request Observation(uint64_t number) {
    Request request;
    request.mutable_memory()->set_name("faces");
    request.mutable_mutation()->set_session(SessionNamed("good"));
    request.mutable_mutation()->set_number(number);
    SetMatrix({1, 2, 3, 4, 4, 3, 2, 1, -1, 0, 0, 1}, 3, request.mutable_embeddings());
    request.set_values(Raw<int64_t>({1, 2, 3}));
    return request;
  }
  static v1::TrainStepRequest Step(uint64_t number = 1) { return Observation<v1::TrainStepRequest>(number); }
  static v1::QueryRequest Query() {
    v1::QueryRequest request;
    request.mutable_memory()->set_name("faces");
    SetMatrix({1, 2, 3, 4, 4, 3, 2, 1, -1, 0, 0, 1}, 3, request.mutable_embeddings());
    return request;
  }
  static std::string Uid() { return client_->StateHash("faces").header().uid(); }

  template <typename Method, typename Request>
  void ExpectRefused(Method method, const Request& good, const std::vector<Mistake<Request>>& mistakes) {
    for (const Mistake<Request>& mistake : mistakes) {
      SCOPED_TRACE(mistake.what);
      Request request = good;
      mistake.make(&request);
      typename ResponseOf<Method>::type response;
      const Fault fault = client_->Call(method, request, &response);
      EXPECT_EQ(fault.code_and_reason, mistake.code_and_reason) << fault.message;
      EXPECT_FALSE(fault.message.empty());
      if (*mistake.field != 0) {
        EXPECT_EQ(fault.metadata.count("field") ? fault.metadata.at("field") : "", mistake.field)
            << fault.message;
      }
      EXPECT_EQ(client_->StateHash("faces").SerializeAsString(), before_);
    }
  }

  // Mistakes that a Query, an Update and a TrainStep can have alike.
  template <typename Request>
  static std::vector<Mistake<Request>> Common() {
    const auto component = [](int i, float x) {
      return
          [i, x](Request* r) { std::memcpy(r->mutable_embeddings()->mutable_data()->data() + 4 * i, &x, 4); };
    };
    return {
        {"no name", [](auto* r) { r->mutable_memory()->clear_name(); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "memory.name"},
        {"unknown memory", [](auto* r) { r->mutable_memory()->set_name("face"); },
         "NOT_FOUND/MEMORY_NOT_FOUND"},
        {"uid of 15 bytes", [](auto* r) { r->mutable_memory()->set_uid(std::string(15, 'u')); },
         "INVALID_ARGUMENT/BAD_ARGUMENT", "memory.uid"},
        {"stale uid", [](auto* r) { r->mutable_memory()->set_uid(std::string(16, 'u')); },
         "FAILED_PRECONDITION/STALE_MEMORY"},
        {"stale epoch", [](auto* r) { r->mutable_memory()->set_epoch(7); },
         "FAILED_PRECONDITION/STALE_MEMORY"},
        {"epoch 0", [](auto* r) { r->mutable_memory()->set_epoch(0); }, "FAILED_PRECONDITION/STALE_MEMORY"},
        {"no matrix", [](auto* r) { r->clear_embeddings(); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"no rows", [](auto* r) { r->mutable_embeddings()->set_rows(0); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"dimension",
         [](auto* r) {
           SetMatrix({1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, r->mutable_embeddings());
         },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"dimension of 2^32 - 1", [](auto* r) { r->mutable_embeddings()->set_dim(~0u); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"no dtype", [](auto* r) { r->mutable_embeddings()->clear_dtype(); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"dtype of other width", [](auto* r) { r->mutable_embeddings()->set_dtype(v1::DTYPE_FLOAT16); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"dtype that is none",
         [](auto* r) { r->mutable_embeddings()->set_dtype(static_cast<v1::DType>(99)); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"a byte too few", [](auto* r) { r->mutable_embeddings()->mutable_data()->pop_back(); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"a byte too many", [](auto* r) { r->mutable_embeddings()->mutable_data()->push_back(0); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"no bytes", [](auto* r) { r->mutable_embeddings()->clear_data(); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"more rows than bytes", [](auto* r) { r->mutable_embeddings()->set_rows(4); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"rows beyond the limit", [](auto* r) { r->mutable_embeddings()->set_rows(101); },
         "INVALID_ARGUMENT/TOO_LARGE", "embeddings.rows"},
        {"2^32 - 1 rows", [](auto* r) { r->mutable_embeddings()->set_rows(~0u); },
         "INVALID_ARGUMENT/TOO_LARGE", "embeddings.rows"},
        {"NaN", component(5, kNaN), "INVALID_ARGUMENT/NON_FINITE"},
        {"infinity", component(0, kInf), "INVALID_ARGUMENT/NON_FINITE"},
        {"minus infinity", component(11, -kInf), "INVALID_ARGUMENT/NON_FINITE"},
        {"norm 0", [](auto* r) { SetMatrix(std::vector<float>(12), 3, r->mutable_embeddings()); },
         "INVALID_ARGUMENT/BAD_NORM"},
        {"norm of minus zeros",
         [](auto* r) { SetMatrix(std::vector<float>(12, -0.0f), 3, r->mutable_embeddings()); },
         "INVALID_ARGUMENT/BAD_NORM"},
        {"norm 1e30", component(4, 1e30f), "INVALID_ARGUMENT/BAD_NORM"},
        {"norm that overflows", component(4, 3e38f), "INVALID_ARGUMENT/BAD_NORM"},
        {"norm 1e-13",
         [](auto* r) {
           SetMatrix({1, 0, 0, 0, 1e-13f, 0, 0, 0, 1, 0, 0, 0}, 3, r->mutable_embeddings());
         },
         "INVALID_ARGUMENT/BAD_NORM"},
        {"skip of two bytes", [](auto* r) { r->set_skip(std::string(2, '\0')); },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"skip beyond the rows", [](auto* r) { r->set_skip("\x08"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "skip"},
        {"request beyond the limit",
         [](auto* r) { r->mutable_embeddings()->set_data(std::string(300 << 10, 'x')); },
         "INVALID_ARGUMENT/TOO_LARGE", "request"},
    };
  }

  // Those of Update and TrainStep.
  template <typename Request>
  static std::vector<Mistake<Request>> OfObservations() {
    std::vector<Mistake<Request>> mistakes = Common<Request>();
    const std::vector<Mistake<Request>> more = {
        {"a value too few",
         [](auto* r) {
           r->set_values(Raw<int64_t>({1, 2}));
         },
         "INVALID_ARGUMENT/BAD_SHAPE"},
        {"half a value", [](auto* r) { r->mutable_values()->pop_back(); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"write of two bytes", [](auto* r) { r->set_write("\x07\x01"); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"write beyond the rows", [](auto* r) { r->set_write("\x0f"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "write"},
        {"payloads of some rows", [](auto* r) { r->add_payloads("one"); }, "INVALID_ARGUMENT/BAD_SHAPE"},
        {"payload of 4,097 bytes",
         [](auto* r) {
           r->add_payloads("");
           r->add_payloads(std::string(4097, 'p'));
           r->add_payloads("");
         },
         "INVALID_ARGUMENT/TOO_LARGE", "payloads"},
        {"no mutation", [](auto* r) { r->clear_mutation(); }, "INVALID_ARGUMENT/BAD_ARGUMENT", "mutation"},
        {"mutation of a read", [](auto* r) { r->set_write(std::string(1, '\0')); },
         "INVALID_ARGUMENT/BAD_ARGUMENT", "mutation"},
        {"mutation, all rows skipped", [](auto* r) { r->set_skip("\x07"); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "mutation"},
        {"session of 15 bytes", [](auto* r) { r->mutable_mutation()->set_session(std::string(15, 's')); },
         "INVALID_ARGUMENT/BAD_ARGUMENT", "mutation.session"},
        {"number 0", [](auto* r) { r->mutable_mutation()->set_number(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "mutation.number"},
        {"acknowledged beyond the number",
         [](auto* r) { r->mutable_mutation()->set_first_unacknowledged(3); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
         "mutation.first_unacknowledged"},
        {"NaN in a row that does not write",
         [](auto* r) {
           r->set_write("\x05");
           std::memcpy(r->mutable_embeddings()->mutable_data()->data() + 16, &kNaN, 4);
         },
         "INVALID_ARGUMENT/NON_FINITE"},
    };
    mistakes.insert(mistakes.end(), more.begin(), more.end());
    return mistakes;
  }

  template <typename Method>
  struct ResponseOf;
  template <typename Stub, typename Request, typename Response>
  struct ResponseOf<grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*)> {
    using type = Response;
  };

  static ServerProcess* server_;
  static RawClient* client_;
  static std::string before_;
};

ServerProcess* BadInputTest::server_ = nullptr;
RawClient* BadInputTest::client_ = nullptr;
std::string BadInputTest::before_;

TEST_F(BadInputTest, QueryIsRefusedForEachMistake) {
  auto mistakes = Common<v1::QueryRequest>();
  const std::vector<Mistake<v1::QueryRequest>> more = {
      {"k of 0", [](auto* r) { r->set_k(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT", "k"},
      {"k beyond the limit", [](auto* r) { r->set_k(51); }, "INVALID_ARGUMENT/TOO_LARGE", "k"},
      {"temperature 0", [](auto* r) { r->set_inverse_temperature(0); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
       "inverse_temperature"},
      {"temperature NaN", [](auto* r) { r->set_inverse_temperature(kNaN); }, "INVALID_ARGUMENT/BAD_ARGUMENT",
       "inverse_temperature"},
      {"temperature infinite", [](auto* r) { r->set_inverse_temperature(kInf); },
       "INVALID_ARGUMENT/BAD_ARGUMENT", "inverse_temperature"},
      {"reply beyond the limit",
       [](auto* r) {
         SetMatrix(std::vector<float>(400, 1), 100, r->mutable_embeddings());
         r->set_k(50);
         r->set_neighbor_payloads(true);
       },
       "INVALID_ARGUMENT/TOO_LARGE", "reply"},
  };
  mistakes.insert(mistakes.end(), more.begin(), more.end());
  ExpectRefused(&v1::MemoryService::Stub::Query, Query(), mistakes);
  v1::QueryResponse response;
  EXPECT_EQ(client_->Call(&v1::MemoryService::Stub::Query, Query(), &response).code_and_reason, "OK");
}

TEST_F(BadInputTest, TrainStepIsRefusedForEachMistake) {
  auto mistakes = OfObservations<v1::TrainStepRequest>();
  mistakes.push_back({"form that is none", [](auto* r) { r->set_form(static_cast<v1::ReturnForm>(9)); },
                      "INVALID_ARGUMENT/BAD_ARGUMENT", "form"});
  ExpectRefused(&v1::MemoryService::Stub::TrainStep, Step(2), mistakes);
}

TEST_F(BadInputTest, UpdateIsRefusedForEachMistake) {
  ExpectRefused(&v1::MemoryService::Stub::Update, Observation<v1::UpdateRequest>(2),
                OfObservations<v1::UpdateRequest>());
}

TEST_F(BadInputTest, GetSlotsIsRefusedForEachMistake) {
  v1::GetSlotsRequest good;
  good.mutable_memory()->set_name("faces");
  good.add_slots(0);
  good.add_values(1);
  ExpectRefused(&v1::MemoryService::Stub::GetSlots, good,
                std::vector<Mistake<v1::GetSlotsRequest>>{
                    {"unknown memory", [](auto* r) { r->mutable_memory()->set_name("f"); },
                     "NOT_FOUND/MEMORY_NOT_FOUND"},
                    {"slot of the capacity", [](auto* r) { r->add_slots(64); },
                     "INVALID_ARGUMENT/BAD_ARGUMENT", "slots"},
                    {"slot of 2^64 - 1", [](auto* r) { r->add_slots(~uint64_t{0}); },
                     "INVALID_ARGUMENT/BAD_ARGUMENT", "slots"},
                    {"limit", [](auto* r) { r->set_limit(51); }, "INVALID_ARGUMENT/TOO_LARGE", "limit"},
                    {"too many", [](auto* r) { r->mutable_slots()->Resize(101, 0); },
                     "INVALID_ARGUMENT/TOO_LARGE", "slots"},
                    {"reply beyond the limit",
                     [](auto* r) {
                       r->mutable_values()->Resize(90, 1);
                       r->set_limit(50);
                       r->set_payloads(true);
                     },
                     "INVALID_ARGUMENT/TOO_LARGE", "reply"},
                });
}

TEST_F(BadInputTest, ClearIsRefusedWithoutAMutation) {
  v1::ClearMemoryRequest good;
  good.mutable_memory()->set_name("faces");
  good.mutable_mutation()->set_session(SessionNamed("good"));
  good.mutable_mutation()->set_number(2);
  ExpectRefused(
      &v1::AdminService::Stub::ClearMemory, good,
      std::vector<Mistake<v1::ClearMemoryRequest>>{
          {"no mutation", [](auto* r) { r->clear_mutation(); }, "INVALID_ARGUMENT/BAD_ARGUMENT", "mutation"},
          {"stale epoch", [](auto* r) { r->mutable_memory()->set_epoch(2); },
           "FAILED_PRECONDITION/STALE_MEMORY"},
      });
}

TEST_F(BadInputTest, CreateIsRefusedForEachMistakeOfTheSpec) {
  v1::CreateMemoryRequest good;
  good.set_name("new");
  *good.mutable_spec() = Spec();
  const auto spec = [](auto set) { return [set](v1::CreateMemoryRequest* r) { set(r->mutable_spec()); }; };
  constexpr char kBad[] = "INVALID_ARGUMENT/BAD_ARGUMENT";
  ExpectRefused(
      &v1::AdminService::Stub::CreateMemory, good,
      std::vector<Mistake<v1::CreateMemoryRequest>>{
          {"no name", [](auto* r) { r->clear_name(); }, kBad, "name"},
          {"name with a slash", [](auto* r) { r->set_name("../new"); }, kBad, "name"},
          {"name with a dot first", [](auto* r) { r->set_name(".new"); }, kBad, "name"},
          {"name of 129", [](auto* r) { r->set_name(std::string(129, 'n')); }, kBad, "name"},
          {"uid of 17 bytes", [](auto* r) { r->set_uid(std::string(17, 'u')); }, kBad, "uid"},
          {"uid of another memory", [](auto* r) { r->set_uid(Uid()); }, kBad, "uid"},
          {"no spec", [](auto* r) { r->clear_spec(); }, kBad, "spec.key_dim"},
          {"key_dim 4,097", spec([](auto* s) { s->set_key_dim(4097); }), kBad, "spec.key_dim"},
          {"capacity 0", spec([](auto* s) { s->set_capacity(0); }), kBad, "spec.capacity"},
          {"capacity 2^31", spec([](auto* s) { s->set_capacity(uint64_t{1} << 31); }), kBad, "spec.capacity"},
          {"choose_k 0", spec([](auto* s) { s->set_choose_k(0); }), kBad, "spec.choose_k"},
          {"choose_k 1,025", spec([](auto* s) { s->set_choose_k(1025); }), kBad, "spec.choose_k"},
          {"margin -1", spec([](auto* s) { s->set_margin(-1); }), kBad, "spec.margin"},
          {"margin NaN", spec([](auto* s) { s->set_margin(kNaN); }), kBad, "spec.margin"},
          {"temperature 0", spec([](auto* s) { s->set_inverse_temperature(0); }), kBad,
           "spec.inverse_temperature"},
          {"age_noise above capacity / 4", spec([](auto* s) { s->set_age_noise(17); }), kBad,
           "spec.age_noise"},
          {"age_noise 65,537", spec([](auto* s) {
             s->set_capacity(1 << 20);
             s->set_age_noise(65537);
           }),
           kBad, "spec.age_noise"},
          {"merge_on_miss 1.5", spec([](auto* s) { s->set_merge_on_miss(1.5f); }), kBad,
           "spec.merge_on_miss"},
          {"fold_misses NaN", spec([](auto* s) { s->set_fold_misses(kNaN); }), kBad, "spec.fold_misses"},
          {"payload_history 17", spec([](auto* s) { s->set_payload_history(17); }), kBad,
           "spec.payload_history"},
          {"partitions 3", spec([](auto* s) { s->set_partitions(3); }), kBad, "spec.partitions"},
          {"partitions 0", spec([](auto* s) { s->set_partitions(0); }), kBad, "spec.partitions"},
          {"write rule that is none", spec([](auto* s) { s->set_write_rule(static_cast<v1::WriteRule>(7)); }),
           kBad, "spec.write_rule"},
          {"batch mode that is none", spec([](auto* s) { s->set_batch(static_cast<v1::BatchMode>(7)); }),
           kBad, "spec.batch"},
          {"durability that is none",
           spec([](auto* s) { s->set_durability(static_cast<v1::Durability>(7)); }), kBad, "spec.durability"},
      });
  v1::ListMemoriesResponse list;
  ASSERT_EQ(
      client_->Call(&v1::AdminService::Stub::ListMemories, v1::ListMemoriesRequest(), &list).code_and_reason,
      "OK");
  EXPECT_EQ(list.memories_size(), 1) << "nothing was made";
}

TEST_F(BadInputTest, CreateOfWhatIsThereDependsOnItsSpec) {
  v1::CreateMemoryRequest again;
  again.set_name("faces");
  *again.mutable_spec() = Spec();
  v1::CreateMemoryResponse response;
  const auto create = [&] { return client_->Call(&v1::AdminService::Stub::CreateMemory, again, &response); };
  EXPECT_EQ(create().code_and_reason, "ALREADY_EXISTS/MEMORY_EXISTS");

  again.set_if_not_exists(true);
  EXPECT_EQ(create().code_and_reason, "OK");
  EXPECT_FALSE(response.created());
  again.mutable_spec()->set_margin(0.1f);  // the defaults, spelt out
  again.mutable_spec()->set_age_noise(1);
  again.mutable_spec()->set_durability(v1::DURABILITY_FSYNC);
  EXPECT_EQ(create().code_and_reason, "OK");

  const std::pair<const char*, std::function<void(v1::MemorySpec*)>> differences[] = {
      {"key_dim", [](auto* s) { s->set_key_dim(5); }},
      {"capacity", [](auto* s) { s->set_capacity(65); }},
      {"seed", [](auto* s) { s->set_seed(1); }},
      {"choose_k", [](auto* s) { s->set_choose_k(11); }},
      {"margin", [](auto* s) { s->set_margin(std::nextafter(0.1f, 1.0f)); }},
      {"inverse_temperature", [](auto* s) { s->set_inverse_temperature(41); }},
      {"age_noise", [](auto* s) { s->set_age_noise(0); }},
      {"batch", [](auto* s) { s->set_batch(v1::BATCH_MODE_SEQUENTIAL); }},
      {"merge_on_miss", [](auto* s) { s->set_merge_on_miss(0); }},
      {"fold_misses", [](auto* s) { s->set_fold_misses(0); }},
      {"payload_history", [](auto* s) { s->set_payload_history(0); }},
      {"partitions", [](auto* s) { s->set_partitions(32); }},
      {"durability", [](auto* s) { s->set_durability(v1::DURABILITY_WAL); }},
  };
  for (const auto& [field, differ] : differences) {
    *again.mutable_spec() = Spec();
    differ(again.mutable_spec());
    const Fault fault = create();
    EXPECT_EQ(fault.code_and_reason, "ALREADY_EXISTS/SPEC_DIFFERS") << field;
    EXPECT_EQ(fault.metadata.at("field"), field);
  }

  *again.mutable_spec() = Spec();
  again.set_if_not_exists(false);
  again.set_uid(Uid());  // a retry of the Create that made it
  EXPECT_EQ(create().code_and_reason, "OK");
  EXPECT_FALSE(response.created());
}

TEST_F(BadInputTest, DeleteIsIdempotentByUid) {
  const std::string uid = client_->Create("doomed", Spec()).header().uid();
  v1::DeleteMemoryRequest request;
  v1::DeleteMemoryResponse response;
  const auto remove = [&] {
    return client_->Call(&v1::AdminService::Stub::DeleteMemory, request, &response);
  };
  EXPECT_EQ(remove().code_and_reason, "INVALID_ARGUMENT/BAD_ARGUMENT");
  request.set_name("doomed");
  request.set_uid("short");
  EXPECT_EQ(remove().code_and_reason, "INVALID_ARGUMENT/BAD_ARGUMENT");
  request.set_uid(std::string(16, 'x'));
  EXPECT_EQ(remove().code_and_reason, "FAILED_PRECONDITION/STALE_MEMORY");
  request.set_uid(uid);
  EXPECT_EQ(remove().code_and_reason, "OK");
  EXPECT_TRUE(response.deleted());
  EXPECT_EQ(response.uid(), uid);
  EXPECT_EQ(remove().code_and_reason, "OK");
  EXPECT_FALSE(response.deleted());
  request.clear_uid();
  EXPECT_EQ(remove().code_and_reason, "NOT_FOUND/MEMORY_NOT_FOUND");

  // The name means another memory now: the old retry must not touch it.
  client_->Create("doomed", Spec());
  request.set_uid(uid);
  EXPECT_EQ(remove().code_and_reason, "FAILED_PRECONDITION/STALE_MEMORY");
  request.clear_uid();
  EXPECT_EQ(remove().code_and_reason, "OK");
}

TEST_F(BadInputTest, GarbageIsRefusedByEveryMethod) {
  const std::string methods[] = {
      "MemoryService/Query",      "MemoryService/Update",      "MemoryService/TrainStep",
      "MemoryService/GetSlots",   "AdminService/CreateMemory", "AdminService/DescribeMemory",
      "AdminService/ClearMemory", "AdminService/DeleteMemory", "AdminService/StateHash"};
  RandomBits bits(1);
  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    std::string reply;
    const Fault fault =
        client_->CallBytes("/evoke.v1." + method, "\x0a\xff\xff\xff\xff\x0f no message", &reply);
    EXPECT_EQ(fault.code_and_reason, "INVALID_ARGUMENT/BAD_ARGUMENT") << fault.message;
    EXPECT_EQ(fault.metadata.at("field"), "request");
    for (int i = 0; i < 30; ++i) {  // bytes that may by chance be a message; whatever it says, no name fits
      std::string garbage;
      for (uint64_t size = bits.Below(60); size > 0; --size)
        garbage.push_back(static_cast<char>(bits.Next()));
      const std::string answer = client_->CallBytes("/evoke.v1." + method, garbage, &reply).code_and_reason;
      EXPECT_THAT(answer, ::testing::AnyOf(HasSubstr("INVALID_ARGUMENT/"), HasSubstr("NOT_FOUND/"))) << i;
    }
  }
  std::string reply;
  EXPECT_THAT(client_->CallBytes("/evoke.v1.MemoryService/Forget", "", &reply).code_and_reason,
              HasSubstr("UNIMPLEMENTED"));
}

TEST_F(BadInputTest, MessageFarBeyondTheLimitIsRefusedByTheTransport) {
  v1::QueryRequest request = Query();
  request.mutable_embeddings()->set_data(std::string(1 << 20, 'x'));
  v1::QueryResponse response;
  EXPECT_EQ(client_->Call(&v1::MemoryService::Stub::Query, request, &response).code_and_reason,
            "RESOURCE_EXHAUSTED/");
}

}  // namespace
}  // namespace evoke::testing
