// How long a trainer waits for a step while snapshots are made: one trainer in a closed loop before a real
// evoked, for some seconds without snapshots, then as long with snapshots made back to back.
//
//   build/release/bench/snapshot_stall_bench           EVOKE_BENCH_SECONDS=10 of each,
//   EVOKE_BENCH_SLOTS=100000
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "evoke/snapshots.h"
#include "evoke/transfers.h"
#include "tests/integration/server_process.h"

namespace evoke {
namespace {

constexpr uint32_t kRows = 32;  // of a step

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << status << '\n';
  std::exit(1);
}

std::string MachineName() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

class RandomRows {
 public:
  RandomRows(uint32_t key_dim, uint64_t values) : key_dim_(key_dim), values_(values) {}
  void Fill(uint32_t rows) {
    x.resize(size_t{rows} * key_dim_);
    labels.resize(rows);
    for (float& number : x) number = normal_(bits_);
    for (int64_t& label : labels) label = static_cast<int64_t>(bits_() % values_);
  }
  std::vector<float> x;
  std::vector<int64_t> labels;

 private:
  const uint32_t key_dim_;
  const uint64_t values_;
  std::mt19937_64 bits_{1};
  std::normal_distribution<float> normal_;
};

// Each step's milliseconds, sorted.
std::vector<double> TrainFor(client::Memory memory, RandomRows& rows, absl::Duration length) {
  std::vector<double> took;
  const absl::Time end = absl::Now() + length;
  while (absl::Now() < end) {
    rows.Fill(kRows);
    const absl::Time begin = absl::Now();
    Must(memory.TrainStep({.embeddings = client::MatrixView::Float32(rows.x, kRows), .values = rows.labels})
             .status());
    took.push_back(absl::ToDoubleMilliseconds(absl::Now() - begin));
  }
  std::sort(took.begin(), took.end());
  return took;
}

void Report(const char* when, const std::vector<double>& took) {
  const auto quantile = [&](double q) {
    return took[static_cast<size_t>(q * static_cast<double>(took.size() - 1))];
  };
  absl::PrintF("%-18s %6u steps   p50 %7.2f ms   p99 %7.2f ms   longest %7.2f ms\n", when, took.size(),
               quantile(0.5), quantile(0.99), took.back());
}

int Main() {
  const bool smoke = std::getenv("EVOKE_BENCH_SMOKE") != nullptr;
  const uint64_t slots = NumberFrom("EVOKE_BENCH_SLOTS", smoke ? 2000 : 100'000);
  const absl::Duration length = absl::Seconds(NumberFrom("EVOKE_BENCH_SECONDS", smoke ? 1 : 10));
  constexpr uint32_t kDim = 128;
  testing::ServerProcess server;
  server.Start();
  const auto client = server.Connect();
  auto made = client->CreateMemory("m", {.key_dim = kDim, .capacity = slots});
  Must(made.status());
  client::Memory memory = made->memory;
  RandomRows rows(kDim, slots / 2 + 1);
  for (uint64_t done = 0; done < slots;) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(2000, slots - done));
    rows.Fill(count);
    Must(memory
             .Import(client::ImportRowsRequest{.embeddings = client::MatrixView::Float32(rows.x, count),
                                               .values = rows.labels})
             .status());
    done += count;
  }
  absl::PrintF("%u x %u, steps of %u rows, durability FSYNC; %s, %u cores, %s\n", slots, kDim, kRows,
               MachineName(), std::thread::hardware_concurrency(), client->Status()->simd);
  TrainFor(memory, rows, length / 5);  // warm
  Report("without snapshots", TrainFor(memory, rows, length));

  std::atomic<bool> stop = false;
  std::vector<double> seconds;
  uint64_t bytes = 0;
  std::thread maker([&] {
    client::Memory snapshotted = *server.Connect()->OpenMemory("m");
    while (!stop) {
      const absl::Time begin = absl::Now();
      const auto snapshot = snapshotted.CreateSnapshot();
      Must(snapshot.status());
      seconds.push_back(absl::ToDoubleSeconds(absl::Now() - begin));
      bytes = snapshot->bytes;
      Must(snapshotted.DeleteSnapshot(snapshot->id).status());
    }
  });
  const std::vector<double> with = TrainFor(memory, rows, length);
  stop = true;
  maker.join();
  Report("with snapshots", with);
  std::sort(seconds.begin(), seconds.end());
  absl::PrintF("%u snapshots of %.1f MB, %.2f s each (median)\n", seconds.size(),
               static_cast<double>(bytes) / 1e6, seconds[seconds.size() / 2]);
  return server.Stop();
}

}  // namespace
}  // namespace evoke

int main() {
  return evoke::Main();
}
