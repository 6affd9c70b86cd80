// What being served adds to a search, and what a trainer's steps do to the queries beside them.
//
//   serve_bench --n=524288 --d=128 --k=256 --batch=64 --rounds=30 --seconds=20
//
// Starts the built evoked, fills a memory, and keeps the same keys in an index of its own. Prints two JSON objects:
//   {"what": "served", in_process_ms, served_ms, ratio}       a batch of queries, confidence only, over loopback; and the
//                                                             same search called here. In turn; medians of rounds
//   {"what": "beside_train_steps", p50_ms, p99_ms, ratio, queries, steps_per_s, alone_p50_ms}
//                                                             single queries, one after the other, while a trainer sends
//                                                             steps of a batch (GRADIENT, durability WAL) back to back
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "evoke/client.h"
#include "evoke/transfers.h"
#include "nlohmann/json.hpp"
#include "server/similarity/similarity.h"
#include "tests/bench/scan_peers.h"
#include "tests/integration/server_process.h"

namespace evoke::bench {
namespace {

using client::MatrixView;
using Clock = std::chrono::steady_clock;

constexpr char kName[] = "serve";
constexpr uint32_t kImportRows = 4096;
constexpr uint32_t kSteps = 64;  // batches of different rows that the trainer goes round

struct Options {
  uint32_t n = 524'288, d = 128, k = 256, batch = 64;
  size_t threads = 2;
  int rounds = 30;
  double seconds = 20;
};

template <typename Result>
Result Must(absl::StatusOr<Result> result) {
  if (result.ok()) return *std::move(result);
  std::cerr << result.status() << '\n';
  std::exit(1);
}

Data MakeData(const Options& o) {
  std::mt19937_64 bits(1);
  std::normal_distribution<float> normal;
  const auto fill = [&](size_t rows) {
    std::vector<float> x(rows * o.d);
    for (float& number : x) number = normal(bits);
    for (size_t r = 0; r < rows; ++r) Normalise(&x[r * o.d], static_cast<int>(o.d), &x[r * o.d]);
    return x;
  };
  return {.n = o.n, .d = o.d, .keys = fill(o.n), .rows = fill(size_t{o.batch} * kSteps)};
}

template <typename Work>
double Milliseconds(const Work& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double Quantile(std::vector<double> times, double q) {
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(times.size() - 1));
  std::nth_element(times.begin(), times.begin() + at, times.end());
  return times[static_cast<size_t>(at)];
}

// The rows of batch `i`.
MatrixView Rows(const Data& data, uint32_t batch, size_t i) {
  const size_t first = i % kSteps * batch;
  return MatrixView::Float32({data.rows.data() + first * data.d, size_t{batch} * data.d}, batch);
}

client::Memory Fill(client::Client& client, const Data& data, const Options& o) {
  client::Memory memory =
      Must(client.CreateMemory(kName, {.key_dim = o.d, .capacity = o.n, .choose_k = o.k, .durability = client::Durability::kWal}))
          .memory;
  std::vector<int64_t> labels(kImportRows);
  for (uint32_t done = 0; done < o.n;) {
    const uint32_t count = std::min(kImportRows, o.n - done);
    for (uint32_t i = 0; i < count; ++i) labels[i] = (done + i) % std::max(1u, o.n / 8);
    const absl::Span<const float> keys(data.keys.data() + size_t{done} * o.d, size_t{count} * o.d);
    Must(memory.Import(client::ImportRowsRequest{.embeddings = MatrixView::Float32(keys, count),
                                                 .values = absl::MakeConstSpan(labels).first(count)}));
    done += count;
  }
  return memory;
}

void Served(client::Memory& memory, const Data& data, const Options& o) {
  const std::unique_ptr<Peer> in_process = EvokePeer(data, "flat", o.threads);
  std::vector<double> searched, served;
  for (int round = -2; round < o.rounds; ++round) {  // two to warm up
    const double search_ms = Milliseconds([&] { in_process->Search(o.batch, o.k); });
    const double query_ms = Milliseconds([&] { Must(memory.Query({.embeddings = Rows(data, o.batch, 0)})); });
    if (round < 0) continue;
    searched.push_back(search_ms);
    served.push_back(query_ms);
  }
  const double search = Quantile(searched, 0.5), query = Quantile(served, 0.5);
  std::cout << nlohmann::ordered_json{{"what", "served"}, {"n", o.n}, {"d", o.d}, {"k", o.k}, {"batch", o.batch},
                                      {"in_process_ms", search}, {"served_ms", query}, {"ratio", query / search}}
            << std::endl;
}

std::vector<double> SingleQueries(client::Memory& memory, const Data& data, double seconds) {
  std::vector<double> times;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (size_t i = 0; Clock::now() < end || times.size() < 2; ++i) {
    times.push_back(Milliseconds([&] { Must(memory.Query({.embeddings = Rows(data, 1, i)})); }));
  }
  return times;
}

void BesideTrainSteps(client::Memory& memory, client::Memory trainers, const Data& data, const Options& o) {
  const std::vector<double> alone = SingleQueries(memory, data, o.seconds / 10);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> steps = 0;
  std::thread trainer([&] {
    std::vector<int64_t> labels(o.batch);
    while (!stop.load()) {
      const uint64_t step = steps.fetch_add(1);
      for (uint32_t i = 0; i < o.batch; ++i) labels[i] = static_cast<int64_t>((step * o.batch + i) % std::max(1u, o.n / 8));
      Must(trainers.TrainStep({.embeddings = Rows(data, o.batch, step), .values = labels, .form = client::ReturnForm::kGradient}));
    }
  });
  while (steps.load() < 3) std::this_thread::yield();
  const uint64_t before = steps.load();
  const std::vector<double> times = SingleQueries(memory, data, o.seconds);
  const double rate = static_cast<double>(steps.load() - before) / o.seconds;
  stop.store(true);
  trainer.join();
  const double p50 = Quantile(times, 0.5), p99 = Quantile(times, 0.99);
  std::cout << nlohmann::ordered_json{{"what", "beside_train_steps"}, {"n", o.n}, {"d", o.d}, {"k", o.k}, {"batch", o.batch},
                                      {"p50_ms", p50}, {"p99_ms", p99}, {"ratio", p99 / p50}, {"queries", times.size()},
                                      {"steps_per_s", rate}, {"alone_p50_ms", Quantile(alone, 0.5)}}
            << std::endl;
}

void Run(const Options& o) {
  testing::ServerProcess server(std::vector<std::string>{"--listen=127.0.0.1:0"});
  server.Start();
  const Data data = MakeData(o);
  const auto connect = [&] { return Must(client::Client::Connect({.addresses = {server.tcp_address()}})); };
  const auto client = connect();
  client::Memory memory = Fill(*client, data, o);
  Served(memory, data, o);
  const auto trainers = connect();  // another machine, as it were
  BesideTrainSteps(memory, Must(trainers->OpenMemory(kName)), data, o);
}

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::Options o;
  CLI::App app("What being served adds to a search");
  app.add_option("--n", o.n, "slots")->check(CLI::PositiveNumber);
  app.add_option("--d", o.d, "dimension")->check(CLI::Range(1, 4096));
  app.add_option("--k", o.k, "neighbors of a query")->check(CLI::PositiveNumber);
  app.add_option("--batch", o.batch, "rows of a call")->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads, "of the search in process");
  app.add_option("--rounds", o.rounds, "pairs of calls")->check(CLI::PositiveNumber);
  app.add_option("--seconds", o.seconds, "of queries beside train steps")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  evoke::bench::Run(o);
  return 0;
}
