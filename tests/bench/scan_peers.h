// What `compare --scan` measures Evoke's index against, in the same process and on the same keys.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace evoke::bench {

// Keys and rows, row-major float32.
struct Data {
  uint32_t n = 0, d = 0;
  std::vector<float> keys;
  std::vector<float> rows;  // enough for the largest batch
};

// A way to find the k nearest keys of the first `batch` rows.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual std::string name() const = 0;
  virtual void Search(uint32_t batch, uint32_t k) = 0;
};

// The index `name` ("flat", ...) on `threads` threads.
std::unique_ptr<Peer> EvokePeer(const Data& data, const std::string& name, size_t threads);
// FAISS's IndexFlatIP: as it is installed (no setting touched), then every configuration that is tried for the best.
std::vector<std::unique_ptr<Peer>> FaissPeers(const Data& data, size_t threads);
// hnswlib's BruteforceSearch, a row a thread at a time.
std::unique_ptr<Peer> HnswlibPeer(const Data& data, size_t threads);

// What no scan of the high plane can be faster than (performance.md calls it the floor of a run), measured here and now.
struct Floor {
  double bytes_per_second = 0;   // reading, all threads
  double flops = 0;              // the best dot-product instruction of the active path on registers, all threads
  double seconds_a_rescored = 1; // one random key in canonical similarity, all threads

  void Take(const Floor& other);  // the faster of both, each by itself
  double Seconds(uint32_t n, uint32_t d, uint32_t k, uint32_t batch) const;
};
Floor MeasureFloor(const Data& data, size_t threads);

}  // namespace evoke::bench
