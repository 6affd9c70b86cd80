// What /metrics shows: counts what engines and services report, and reads the memories' figures when it is
// scraped.
//
//   Exporter exporter(build);                      before the catalog, which it must outlive
//   options.make_probe = [&](name) { return exporter.MakeProbe(name); };
//   exporter.ReadFigures([&] { ... of every memory ... });
//
// Thread-safe. A scrape blocks no turn; it takes a quarter of a millisecond and 13 KB of text a memory.
#pragma once

#include <prometheus/registry.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/base/mutex.h"
#include "server/engine/executor.h"
#include "server/metrics/gauges.h"
#include "server/metrics/memory_series.h"
#include "server/metrics/metric_names.h"
#include "server/service/call_observer.h"

namespace evoke {

// Labels of evoke_build_info.
struct BuildInfo {
  std::string version, commit, simd, cuda, faiss, rocksdb;
};

class Exporter final : public CallObserver, private SeriesFamilies {
 public:
  // `memory_labels`: memories that get a label of their own, the first ones that ask; a deleted one makes
  // room.
  explicit Exporter(const BuildInfo& build, size_t memory_labels = 100);
  ~Exporter() override;

  // Called once a memory; the probe must not outlive the exporter.
  std::unique_ptr<EngineProbe> MakeProbe(std::string_view memory);
  // From now on a scrape asks `read` for the figures of all memories; nullptr: none any more.
  void ReadFigures(std::function<std::vector<MemoryFigures>()> read);
  // The same for what is of no memory.
  void ReadServer(std::function<ServerFigures()> read);

  void OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) override;
  void OnRefused(std::string_view memory, std::string_view reason) override;
  void OnDeviceSearch(int device, absl::Duration taken);

  // The exposition, Prometheus's text format 0.0.4; families by name.
  std::string Text() const;

 private:
  class Probe;
  prometheus::Family<prometheus::Counter>& counters(Metric metric) override;
  prometheus::Family<prometheus::Histogram>& histograms(Metric metric) override;
  void Release(MemorySeries* series);
  void OnPhases(const TurnReport& report);

  const BuildInfo build_;
  const size_t memory_labels_;
  prometheus::Registry registry_;
  std::map<Metric, prometheus::Family<prometheus::Counter>*> counters_;      // constant after construction
  std::map<Metric, prometheus::Family<prometheus::Histogram>*> histograms_;  // as above
  prometheus::Histogram* phases_[kPhaseCount];

  // Counted by hand and not by weak_ptr: the series of a label must be gone before the next one of it is
  // made.
  struct Series {
    std::unique_ptr<MemorySeries> series;
    int probes = 0;
  };
  mutable Mutex mu_;
  std::map<std::string, Series, std::less<>> series_ ABSL_GUARDED_BY(mu_);                        // by label
  std::map<std::string, prometheus::Counter*, std::less<>> unknown_memory_ ABSL_GUARDED_BY(mu_);  // by reason
  std::function<std::vector<MemoryFigures>()> read_ ABSL_GUARDED_BY(mu_);
  std::function<ServerFigures()> read_server_ ABSL_GUARDED_BY(mu_);
};

}  // namespace evoke
