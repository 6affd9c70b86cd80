// What the way costs: calls of the C++ client on a small memory (4,096 slots of 128, k = 16, batches of 16)
// over loopback, beside a bare gRPC echo of the same bytes.
//
//   wire_bench --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
//       --benchmark_report_aggregates_only=true --benchmark_out=wire.json --benchmark_out_format=json
//   EVOKE_BENCH_ADDRESS=HOST:PORT   a server that runs already; without it the built evoked is started
//   EVOKE_BENCH_SLOTS, EVOKE_BENCH_DURABILITY=wal|fsync|memory   default 4096, wal
//   EVOKE_BENCH_SMOKE=1             every benchmark once or so: what CI runs
//
// ...OfNothing are calls of our client to an echo that has the right answer ready: beside EchoOf..., the
// client's share. Only ratios within one run mean anything: the are Query / EchoOfQuery (at
// most 1.5), and Clients64Query1 - Client1Query64 over Clients64Echo (at most 1.2).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "evoke/convert.h"
#include "evoke/train_pipeline.h"
#include "evoke/transfers.h"
#include "tests/bench/wire_echo.h"
#include "tests/integration/server_process.h"

namespace evoke {
namespace {

using client::MatrixView;

constexpr uint32_t kDim = 128;
constexpr uint32_t kBatch = 16;
constexpr uint32_t kClients = 64;
constexpr int kInFlight = 8;

std::string Variable(const char* name, const char* otherwise) {
  const char* given = std::getenv(name);
  return given == nullptr ? otherwise : given;
}
bool Smoke() {
  return std::getenv("EVOKE_BENCH_SMOKE") != nullptr;
}

template <typename Result>
Result Must(absl::StatusOr<Result> result) {
  if (result.ok()) return *std::move(result);
  std::cerr << result.status() << '\n';
  std::exit(1);
}

// Rows of all benchmarks; labels are few, so that train steps both hit and miss.
struct Rows {
  explicit Rows(uint32_t count) : x(size_t{count} * kDim), labels(count) {
    std::mt19937_64 bits(1);
    std::normal_distribution<float> normal;
    for (float& number : x) number = normal(bits);
    for (int64_t& label : labels) label = static_cast<int64_t>(bits() % 500);
  }
  MatrixView Matrix(uint32_t count) const {
    return MatrixView::Float32({x.data(), size_t{count} * kDim}, count);
  }
  client::QueryRequest Query(uint32_t count) const { return {.embeddings = Matrix(count)}; }
  // Other rows at every call, as a trainer's are.
  client::TrainStepRequest NextStep() {
    const size_t first = next_++ * kBatch % labels.size();
    return {.embeddings = MatrixView::Float32({x.data() + first * kDim, size_t{kBatch} * kDim}, kBatch),
            .values = absl::MakeConstSpan(labels).subspan(first, kBatch),
            .form = client::ReturnForm::kGradient};
  }
  std::vector<float> x;
  std::vector<int64_t> labels;

 private:
  size_t next_ = 0;
};

// The server, a full memory, and the sizes of its messages.
class World {
 public:
  static World& Get() {
    static World* const world = new World;
    return *world;
  }

  Rows rows{std::max(kClients, 2048u)};
  std::unique_ptr<client::Client> Connect() const {
    return Must(client::Client::Connect({.addresses = {address_}}));
  }
  client::Memory Memory(client::Client& client) const { return Must(client.OpenMemory(kName)); }

  size_t QueryBytes(uint32_t count) const {
    v1::QueryRequest proto;
    proto.mutable_memory()->set_name(kName);
    proto.mutable_memory()->set_uid(std::string(16, 'u'));
    return client::ToProto(rows.Query(count), &proto).ok() ? proto.ByteSizeLong() : 0;
  }
  // Of confidence and value alone, with a header of some 80 bytes.
  static size_t AnswerBytes(uint32_t count) { return 80 + count * (sizeof(int64_t) + sizeof(float) + 1); }
  size_t StepBytes() {
    v1::TrainStepRequest proto;
    proto.mutable_memory()->set_name(kName);
    proto.mutable_mutation()->set_session(std::string(16, 's'));
    return client::ToProto(rows.NextStep(), &proto).ok() ? proto.ByteSizeLong() + 18 : 0;
  }
  static size_t StepReplyBytes() { return AnswerBytes(kBatch) + kBatch * (sizeof(float) * (kDim + 1) + 11); }

 private:
  static constexpr char kName[] = "wire";

  World() {
    if (address_.empty()) {
      server_ = std::make_unique<testing::ServerProcess>(std::vector<std::string>{"--listen=127.0.0.1:0"});
      server_->Start();
      address_ = server_->tcp_address();
    }
    std::atexit([] { Get().server_.reset(); });
    const auto client = Connect();
    const auto slots = std::strtoull(Variable("EVOKE_BENCH_SLOTS", "4096").c_str(), nullptr, 10);
    const std::string durability = Variable("EVOKE_BENCH_DURABILITY", "wal");
    client::MemorySpec spec{.key_dim = kDim, .capacity = slots, .choose_k = 16};
    spec.durability = durability == "fsync"    ? client::Durability::kFsync
                      : durability == "memory" ? client::Durability::kMemory
                                               : client::Durability::kWal;
    (void)client->DeleteMemory(kName);  // of a run before this one
    client::Memory memory = Must(client->CreateMemory(kName, spec)).memory;
    for (uint64_t done = 0; done < slots;) {
      const auto count = static_cast<uint32_t>(std::min<uint64_t>(rows.labels.size(), slots - done));
      Must(memory.Import(client::ImportRowsRequest{.embeddings = rows.Matrix(count),
                                                   .values = absl::MakeConstSpan(rows.labels).first(count)}));
      done += count;
    }
  }

  std::string address_ = Variable("EVOKE_BENCH_ADDRESS", "");
  std::unique_ptr<testing::ServerProcess> server_;
};

// Keeps `begin`s underway, `width` at a time, one an iteration; each calls what it is given when it has
// ended.
void Overlap(benchmark::State& state, int width, const std::function<void(std::function<void()>)>& begin) {
  absl::Mutex mu;
  int underway = 0;
  const auto room = [&] { return underway < width; };
  const auto none = [&] { return underway == 0; };
  for (auto _ : state) {
    {
      absl::MutexLock lock(&mu);
      mu.Await(absl::Condition(&room));
      ++underway;
    }
    begin([&] {
      absl::MutexLock lock(&mu);
      --underway;
    });
  }
  absl::MutexLock lock(&mu);
  mu.Await(absl::Condition(&none));
}

// One call of each of many, all at once, an iteration.
template <typename Callers, typename Begin>
void AllAtOnce(benchmark::State& state, Callers& callers, const Begin& begin) {
  for (auto _ : state) {
    absl::BlockingCounter left(static_cast<int>(callers.size()));
    for (auto& caller : callers) begin(caller, [&left] { left.DecrementCount(); });
    left.Wait();
  }
}

// How many turns the server made of the steps: 1 a step, if none of them shared one.
void CountTurns(benchmark::State& state, client::Memory& memory, uint64_t turn_before) {
  const uint64_t turns = Must(memory.StateHash()).header.turn - turn_before;
  state.counters["turns_per_step"] = static_cast<double>(turns) / static_cast<double>(state.iterations());
}

void EchoBench(benchmark::State& state, size_t request_bytes, size_t reply_bytes, int in_flight) {
  EchoServer server({{"", std::string(reply_bytes, 'x')}});
  EchoClient echo(server.address(), request_bytes);
  echo.Call();
  if (in_flight > 1) {
    return Overlap(state, in_flight, [&](std::function<void()> done) { echo.CallAsync(std::move(done)); });
  }
  for (auto _ : state) echo.Call();
}

void EchoOfQuery(benchmark::State& state) {
  EchoBench(state, World::Get().QueryBytes(kBatch), World::AnswerBytes(kBatch), 1);
}
void EchoOfQueryInFlight(benchmark::State& state) {
  EchoBench(state, World::Get().QueryBytes(kBatch), World::AnswerBytes(kBatch), kInFlight);
}
void EchoOfStep(benchmark::State& state) {
  EchoBench(state, World::Get().StepBytes(), World::StepReplyBytes(), 1);
}

// The answers of a server that has nothing to do to give them: against the echo, what our client adds.
std::map<std::string, std::string> Canned() {
  v1::DescribeMemoryResponse described;
  described.mutable_description()->set_uid(std::string(16, 'u'));
  described.mutable_description()->mutable_spec()->set_key_dim(kDim);
  v1::QueryResponse answer;
  answer.mutable_header()->set_uid(std::string(16, 'u'));
  answer.set_rows(kBatch);
  answer.set_answered(std::string(kBatch / 8, 1));
  answer.set_values(std::string(kBatch * sizeof(int64_t), 1));
  answer.set_confidences(std::string(kBatch * sizeof(float), 1));
  v1::TrainStepResponse result;
  result.set_rows(kBatch);
  result.set_answered(answer.answered());
  result.set_values(answer.values());
  result.set_confidences(answer.confidences());
  result.set_losses(answer.confidences());
  result.set_positive_found(answer.answered());
  result.set_negative_found(answer.answered());
  result.set_outcomes(std::string(kBatch, 1));
  result.set_slots(answer.values());
  result.set_gradients(std::string(kBatch * kDim * sizeof(float), 1));
  return {{"/evoke.v1.AdminService/DescribeMemory", described.SerializeAsString()},
          {"/evoke.v1.MemoryService/Query", answer.SerializeAsString()},
          {"/evoke.v1.MemoryService/TrainStep", result.SerializeAsString()},
          {"/evoke.v1.MemoryService/TrainStream", result.SerializeAsString()}};
}

void QueryOfNothing(benchmark::State& state) {
  EchoServer server(Canned());
  const auto client = Must(client::Client::Connect({.addresses = {server.address()}}));
  client::Memory memory = Must(client->OpenMemory("canned"));
  for (auto _ : state) Must(memory.Query(World::Get().rows.Query(kBatch)));
}

void QueryOfNothingInFlight(benchmark::State& state) {
  EchoServer server(Canned());
  const auto client = Must(client::Client::Connect({.addresses = {server.address()}}));
  client::Memory memory = Must(client->OpenMemory("canned"));
  Overlap(state, kInFlight, [&](std::function<void()> done) {
    memory.QueryAsync(World::Get().rows.Query(kBatch), [done](absl::StatusOr<client::QueryResult> answer) {
      Must(std::move(answer));
      done();
    });
  });
}

void TrainStepOfNothing(benchmark::State& state) {
  EchoServer server(Canned());
  const auto client = Must(client::Client::Connect({.addresses = {server.address()}}));
  client::Memory memory = Must(client->OpenMemory("canned"));
  for (auto _ : state) Must(memory.TrainStep(World::Get().rows.NextStep()));
}

void TrainPipelinedOfNothing(benchmark::State& state) {
  EchoServer server(Canned());
  const auto client = Must(client::Client::Connect({.addresses = {server.address()}}));
  const auto pipeline = Must(client::TrainPipeline::Create(Must(client->OpenMemory("canned"))));
  for (auto _ : state) {
    pipeline->Submit(World::Get().rows.NextStep(),
                     [](absl::StatusOr<client::TrainStepResult> result) { Must(std::move(result)); });
  }
  if (absl::Status drained = pipeline->Drain(); !drained.ok()) state.SkipWithError("it broke");
}

void Query(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  client::Memory memory = world.Memory(*client);
  for (auto _ : state) Must(memory.Query(world.rows.Query(kBatch)));
}

void QueryInFlight(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  client::Memory memory = world.Memory(*client);
  Overlap(state, kInFlight, [&](std::function<void()> done) {
    memory.QueryAsync(world.rows.Query(kBatch), [done](absl::StatusOr<client::QueryResult> answer) {
      Must(std::move(answer));
      done();
    });
  });
}

void TrainStep(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  client::Memory memory = world.Memory(*client);
  for (auto _ : state) Must(memory.TrainStep(world.rows.NextStep()));
}

void TrainStepInFlight(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  client::Memory memory = world.Memory(*client);
  const uint64_t turn = Must(memory.StateHash()).header.turn;
  Overlap(state, kInFlight, [&](std::function<void()> done) {
    memory.TrainStepAsync(world.rows.NextStep(), [done](absl::StatusOr<client::TrainStepResult> result) {
      Must(std::move(result));
      done();
    });
  });
  CountTurns(state, memory, turn);
}

void TrainPipelined(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  const auto pipeline = Must(client::TrainPipeline::Create(world.Memory(*client)));
  client::Memory memory = world.Memory(*client);
  if (absl::IsUnimplemented(pipeline->Submit(world.rows.NextStep()).get().status())) {
    return state.SkipWithError("the server has no TrainStream");
  }
  const uint64_t turn = Must(memory.StateHash()).header.turn;
  for (auto _ : state) {
    pipeline->Submit(world.rows.NextStep(),
                     [](absl::StatusOr<client::TrainStepResult> result) { Must(std::move(result)); });
  }
  if (absl::Status drained = pipeline->Drain(); !drained.ok()) state.SkipWithError("it broke");
  CountTurns(state, memory, turn);
}

void Client1Query64(benchmark::State& state) {
  World& world = World::Get();
  const auto client = world.Connect();
  client::Memory memory = world.Memory(*client);
  for (auto _ : state) Must(memory.Query(world.rows.Query(kClients)));
}

void Clients64Query1(benchmark::State& state) {
  World& world = World::Get();
  std::vector<std::unique_ptr<client::Client>> clients;
  std::vector<client::Memory> memories;
  for (uint32_t i = 0; i < kClients; ++i) {
    clients.push_back(world.Connect());
    memories.push_back(world.Memory(*clients.back()));
  }
  AllAtOnce(state, memories, [&](client::Memory& memory, std::function<void()> done) {
    memory.QueryAsync(world.rows.Query(1), [done](absl::StatusOr<client::QueryResult> answer) {
      Must(std::move(answer));
      done();
    });
  });
}

void Clients64Echo(benchmark::State& state) {
  EchoServer server({{"", std::string(World::AnswerBytes(1), 'x')}});
  std::deque<EchoClient> clients;
  for (uint32_t i = 0; i < kClients; ++i) {
    clients.emplace_back(server.address(), World::Get().QueryBytes(1)).Call();
  }
  AllAtOnce(state, clients,
            [](EchoClient& echo, std::function<void()> done) { echo.CallAsync(std::move(done)); });
}

}  // namespace
}  // namespace evoke

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const std::pair<const char*, void (*)(benchmark::State&)> all[] = {
      {"EchoOfQuery", evoke::EchoOfQuery},
      {"QueryOfNothing", evoke::QueryOfNothing},
      {"Query", evoke::Query},
      {"EchoOfQueryInFlight8", evoke::EchoOfQueryInFlight},
      {"QueryOfNothingInFlight8", evoke::QueryOfNothingInFlight},
      {"QueryInFlight8", evoke::QueryInFlight},
      {"EchoOfStep", evoke::EchoOfStep},
      {"TrainStepOfNothing", evoke::TrainStepOfNothing},
      {"TrainStep", evoke::TrainStep},
      {"TrainStepInFlight8", evoke::TrainStepInFlight},
      {"TrainPipelinedOfNothing16", evoke::TrainPipelinedOfNothing},
      {"TrainPipelined16", evoke::TrainPipelined},
      {"Client1Query64", evoke::Client1Query64},
      {"Clients64Query1", evoke::Clients64Query1},
      {"Clients64Echo", evoke::Clients64Echo}};
  for (const auto& [name, function] : all) {
    benchmark::RegisterBenchmark(name, function)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond)
        ->MinTime(evoke::Smoke() ? 0.001 : 0.3);
  }
  evoke::World::Get();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
