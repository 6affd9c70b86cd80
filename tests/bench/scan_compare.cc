// Evoke's index beside FAISS, hnswlib and the machine's floor, in one process: what `compare --scan` runs.
//
//   scan_compare --n=524288 --d=128 --k=256 --batches=1,8,64,256 --data=random --threads=2 --rounds=5 [--isa=avx2] [--hnswlib]
//   scan_compare --alone ...                                                  // Evoke's index and the floor: --scaling
//
// Prints one JSON object a batch. Everybody is measured in turn, round after round, so that a machine whose speed changes
// changes it for all; times are medians of rounds. FAISS's best configuration is chosen afterwards, for each batch.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
#include <random>
#include <thread>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "server/index/scan_paths.h"
#include "server/similarity/similarity.h"
#include "tests/bench/scan_peers.h"

namespace evoke::bench {
namespace {

// random: uniform on the sphere. clustered: 1,024 centers, and noise as long as they are apart from each other by a third.
// tight: 1% of the keys nearly equal, and every row looks there.
Data MakeData(const std::string& kind, uint32_t n, uint32_t d, uint32_t rows) {
  std::mt19937_64 bits(1);
  std::normal_distribution<float> normal;
  const auto unit = [&](float* x, const float* center, float noise) {
    for (uint32_t e = 0; e < d; ++e) x[e] = normal(bits);
    Normalise(x, static_cast<int>(d), x);
    if (center == nullptr) return;
    for (uint32_t e = 0; e < d; ++e) x[e] = center[e] + noise * x[e];
    Normalise(x, static_cast<int>(d), x);
  };
  Data data{.n = n, .d = d, .keys = std::vector<float>(size_t{n} * d), .rows = std::vector<float>(size_t{rows} * d)};
  constexpr uint32_t kCenters = 1024;
  std::vector<float> centers(size_t{kCenters} * d);
  for (uint32_t c = 0; c < kCenters; ++c) unit(&centers[size_t{c} * d], nullptr, 0);
  const auto center = [&](uint32_t i) -> const float* {
    if (kind == "clustered") return &centers[bits() % kCenters * d];
    return kind == "tight" && i % 100 == 0 ? centers.data() : nullptr;
  };
  for (uint32_t i = 0; i < n; ++i) unit(&data.keys[size_t{i} * d], center(i), kind == "tight" ? 1e-4f : 0.33f);
  for (uint32_t i = 0; i < rows; ++i) unit(&data.rows[size_t{i} * d], center(0), kind == "tight" ? 0.1f : 0.33f);
  return data;
}

double Milliseconds(Peer& peer, uint32_t batch, uint32_t k) {
  // OpenMP's threads go on spinning for some milliseconds after FAISS has its answer: on a core that whoever is next needs.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto begin = std::chrono::steady_clock::now();
  peer.Search(batch, k);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double Median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

struct Options {
  uint32_t n = 524'288, d = 128, k = 256;
  std::vector<uint32_t> batches = {1, 8, 64, 256};
  std::string data = "random";
  size_t threads = 2;
  int rounds = 5;
  std::string isa;
  bool hnswlib = false;
  bool alone = false;
};

// What FAISS takes as it is installed, and in the best of its configurations for this batch.
void AddFaiss(const std::map<std::string, std::vector<double>>& times, nlohmann::ordered_json* row) {
  const double installed = Median(times.at("faiss_installed"));
  double best = installed;
  std::string best_name = "as installed";
  for (const auto& [name, all] : times) {
    if (!name.starts_with("faiss threshold") || Median(all) >= best) continue;
    best = Median(all);
    best_name = name;
  }
  (*row)["faiss_best_ms"] = best;
  (*row)["faiss_installed_ms"] = installed;
  (*row)["faiss_best"] = best_name;
}

void Compare(const Options& o) {
  const Data data = MakeData(o.data, o.n, o.d, *std::max_element(o.batches.begin(), o.batches.end()));
  std::vector<std::unique_ptr<Peer>> peers;
  if (!o.alone) peers = FaissPeers(data, o.threads);
  peers.push_back(EvokePeer(data, "flat", o.threads));
  if (o.hnswlib) peers.push_back(HnswlibPeer(data, o.threads));
  for (const uint32_t batch : o.batches) {
    std::map<std::string, std::vector<double>> times;
    Floor floor;  // the fastest that was seen: what is slower was somebody else's turn
    for (int round = -1; round < o.rounds; ++round) {  // the first is for warming up
      for (const auto& peer : peers) {
        const double ms = Milliseconds(*peer, batch, o.k);
        if (round >= 0) times[peer->name()].push_back(ms);
      }
      floor.Take(MeasureFloor(data, o.threads));
    }
    nlohmann::ordered_json row{{"isa", Name(ActiveScanPath())}, {"data", o.data}, {"n", o.n}, {"d", o.d}, {"k", o.k},
                               {"batch", batch}, {"threads", o.threads}};
    row["evoke_ms"] = Median(times["evoke"]);
    if (!o.alone) AddFaiss(times, &row);
    row["floor_ms"] = 1e3 * floor.Seconds(o.n, o.d, o.k, batch);
    row["floor"] = {{"gb_per_s", floor.bytes_per_second / 1e9},
                    {"gflops", floor.flops / 1e9},
                    {"ns_a_rescored", floor.seconds_a_rescored * 1e9}};
    if (o.hnswlib) row["hnswlib_ms"] = Median(times["hnswlib"]);
    std::cout << row << std::endl;
  }
}

}  // namespace
}  // namespace evoke::bench

int main(int argc, char** argv) {
  evoke::bench::Options o;
  CLI::App app("Evoke's index beside FAISS, hnswlib and the machine's floor");
  app.add_option("--n", o.n, "keys");
  app.add_option("--d", o.d, "dimension")->check(CLI::Range(1, 4096));
  app.add_option("--k", o.k, "keys wanted");
  app.add_option("--batches", o.batches, "rows a search")->delimiter(',');
  app.add_option("--data", o.data)->check(CLI::IsMember({"random", "clustered", "tight"}));
  app.add_option("--threads", o.threads);
  app.add_option("--rounds", o.rounds)->check(CLI::PositiveNumber);
  app.add_option("--isa", o.isa, "instructions of Evoke's scan; default: the machine's best");
  app.add_flag("--hnswlib", o.hnswlib, "hnswlib's brute force too");
  app.add_flag("--alone", o.alone, "neither FAISS nor hnswlib")->excludes("--hnswlib");
  CLI11_PARSE(app, argc, argv);
  for (const evoke::ScanPath path : evoke::AvailableScanPaths()) {
    if (evoke::Name(path) != o.isa) continue;
    const evoke::ScopedScanPath scoped(path);
    evoke::bench::Compare(o);
    return 0;
  }
  if (!o.isa.empty()) {
    std::cerr << "this machine has no " << o.isa << '\n';
    return 2;
  }
  evoke::bench::Compare(o);
  return 0;
}
