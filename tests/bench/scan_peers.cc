#include "tests/bench/scan_peers.h"

#include <dlfcn.h>
#include <faiss/IndexFlat.h>
#include <faiss/utils/distances.h>
#include <hnswlib/hnswlib.h>
#include <omp.h>

#include <algorithm>
#include <thread>

#include "server/base/check.h"
#include "server/base/thread_pool.h"
#include "server/index/index_factory.h"
#include "server/memory/slot_table.h"

namespace evoke::bench {
namespace {

class Evoke final : public Peer {
 public:
  Evoke(const Data& data, const std::string& name, size_t threads)
      : data_(data), pool_("compute", threads), table_(*SlotTable::Create(data.n, data.d)) {
    for (uint32_t p = 0; p < data.n; ++p) table_.Set(p, {}, {data.keys.data() + size_t{p} * data.d, data.d});
    view_ = {table_.keys(), data.d, table_.rows(), table_.live_words(), table_.live_count()};
    const Parallel parallel = [this, threads](size_t count, const std::function<void(size_t)>& body) {
      ParallelFor(&pool_, threads, count, body);
    };
    index_ = *CreateIndex(name, {.dim = data.d, .capacity = data.n, .parallel = parallel});
    index_->Rebuild(view_);
  }
  std::string name() const override { return "evoke"; }
  void Search(uint32_t batch, uint32_t k) override {
    EVOKE_CHECK(index_->Search(view_, data_.rows.data(), std::vector<uint32_t>(batch, k)).size() == batch);
  }

 private:
  const Data& data_;
  ThreadPool pool_;
  SlotTable table_;
  KeyMatrixView view_;
  std::unique_ptr<Index> index_;
};

struct FaissSettings {
  bool untouched = false;
  int blas_threshold = 1;    // from how many rows on BLAS is used; Debian's build is scalar below
  int database_block = 1024; // keys of one BLAS call
  bool split = false;        // our threads, each a part of the keys, and BLAS on one; else OpenMP's and BLAS's own
};

void SetBlasThreads(int threads) {
  using SetThreads = void (*)(int);
  if (auto set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
}

class Faiss final : public Peer {
 public:
  Faiss(const Data& data, std::shared_ptr<std::vector<faiss::IndexFlatIP>> parts, FaissSettings settings, size_t threads)
      : data_(data),
        parts_(std::move(parts)),
        settings_(settings),
        threads_(static_cast<int>(threads)),
        scores_(parts_->size()),
        found_(parts_->size()) {}
  std::string name() const override {
    if (settings_.untouched) return "faiss_installed";
    return "faiss threshold " + std::to_string(settings_.blas_threshold) + ", block " +
           std::to_string(settings_.database_block) + (settings_.split ? ", split" : ", OpenMP");
  }
  void Search(uint32_t batch, uint32_t k) override {
    faiss::distance_compute_blas_threshold = settings_.untouched ? 20 : settings_.blas_threshold;
    faiss::distance_compute_blas_database_bs = settings_.untouched ? 1024 : settings_.database_block;
    omp_set_num_threads(settings_.split ? 1 : threads_);
    SetBlasThreads(settings_.split ? 1 : threads_);
    if (!settings_.split) return Part(0, parts_->front(), batch, k);
    std::vector<std::thread> workers;
    for (size_t p = 1; p < parts_->size(); ++p) {
      workers.emplace_back([&, p] {
        omp_set_num_threads(1);
        Part(p, (*parts_)[p], batch, k);
      });
    }
    for (std::thread& worker : workers) worker.join();
    for (uint32_t row = 0; row < batch; ++row) Merge(row, k);
  }

 private:
  void Part(size_t p, const faiss::IndexFlatIP& part, uint32_t batch, uint32_t k) {
    found_[p].resize(size_t{batch} * k);
    scores_[p].resize(size_t{batch} * k);
    part.search(batch, data_.rows.data(), k, scores_[p].data(), found_[p].data());
  }
  void Merge(uint32_t row, uint32_t k) {
    std::vector<std::pair<float, faiss::Index::idx_t>> best;
    for (size_t p = 1; p < parts_->size(); ++p) {
      for (size_t i = size_t{row} * k; i < size_t{row + 1} * k; ++i) best.emplace_back(-scores_[p][i], found_[p][i]);
    }
    std::partial_sort(best.begin(), best.begin() + k, best.end());
  }

  const Data& data_;
  // The whole, then a part a thread.
  const std::shared_ptr<std::vector<faiss::IndexFlatIP>> parts_;
  const FaissSettings settings_;
  const int threads_;
  // A part's own: its thread alone writes there.
  std::vector<std::vector<float>> scores_;
  std::vector<std::vector<faiss::Index::idx_t>> found_;
};

class Hnswlib final : public Peer {
 public:
  Hnswlib(const Data& data, size_t threads) : data_(data), threads_(threads), space_(data.d), all_(&space_, data.n) {
    for (uint32_t i = 0; i < data.n; ++i) all_.addPoint(data.keys.data() + size_t{i} * data.d, i);
  }
  std::string name() const override { return "hnswlib"; }
  void Search(uint32_t batch, uint32_t k) override {
    std::vector<std::thread> workers;
    for (size_t t = 0; t < threads_; ++t) {
      workers.emplace_back([&, t] {
        for (uint32_t row = static_cast<uint32_t>(t); row < batch; row += static_cast<uint32_t>(threads_)) {
          EVOKE_CHECK(all_.searchKnn(data_.rows.data() + size_t{row} * data_.d, k).size() == k);
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
  }

 private:
  const Data& data_;
  const size_t threads_;
  hnswlib::InnerProductSpace space_;
  hnswlib::BruteforceSearch<float> all_;
};

}  // namespace

std::unique_ptr<Peer> EvokePeer(const Data& data, const std::string& name, size_t threads) {
  return std::make_unique<Evoke>(data, name, threads);
}

std::unique_ptr<Peer> HnswlibPeer(const Data& data, size_t threads) { return std::make_unique<Hnswlib>(data, threads); }

std::vector<std::unique_ptr<Peer>> FaissPeers(const Data& data, size_t threads) {
  auto parts = std::make_shared<std::vector<faiss::IndexFlatIP>>();
  const auto add = [&](uint64_t begin, uint64_t end) {
    parts->emplace_back(data.d);
    parts->back().add(static_cast<faiss::Index::idx_t>(end - begin), data.keys.data() + begin * data.d);
  };
  add(0, data.n);
  for (uint64_t t = 0; t < threads; ++t) add(data.n * t / threads, data.n * (t + 1) / threads);
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<Faiss>(data, parts, FaissSettings{.untouched = true}, threads));
  for (const bool split : {false, true}) {
    for (const int block : {1024, 16384}) {
      peers.push_back(std::make_unique<Faiss>(data, parts, FaissSettings{false, 1, block, split}, threads));
    }
  }
  // Without BLAS: a row at a time, which for one row reads the keys once.
  peers.push_back(std::make_unique<Faiss>(data, parts, FaissSettings{false, 1 << 20, 1024, true}, threads));
  return peers;
}

}  // namespace evoke::bench
