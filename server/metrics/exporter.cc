#include "server/metrics/exporter.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace evoke {
namespace {

const std::vector<double> kRequestBounds = {1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02,
                                            0.05, 0.1,  0.2,  0.5,  1,    2,    5,    10};
const std::vector<double> kPhaseBounds = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01,
                                          0.02, 0.05, 0.1,  0.2,  0.5,  1,    2,    5,    10};

std::string CodeName(absl::StatusCode code) {
  return code == absl::StatusCode::kOk ? "OK" : absl::StatusCodeToString(code);
}

}  // namespace

class Exporter::Probe final : public EngineProbe {
 public:
  Probe(Exporter* exporter, MemorySeries* series) : exporter_(exporter), series_(series) {}
  ~Probe() override { exporter_->Release(series_); }
  void OnTurn(const TurnReport& report) override {
    exporter_->OnPhases(report);
    series_->OnTurn(report);
  }
  void OnRejected(std::string_view reason) override { series_->OnRejected(reason); }
  void OnSnapshot(const SnapshotReport& report) override { series_->OnSnapshot(report); }

 private:
  Exporter* const exporter_;
  MemorySeries* const series_;
};

Exporter::Exporter(const BuildInfo& build, size_t memory_labels)
    : build_(build), memory_labels_(memory_labels) {
  for (const MetricInfo& info : kMetricTable) {
    if (IsReadAtScrape(info)) continue;
    if (info.type == MetricType::kCounter) {
      counters_[info.id] = &prometheus::BuildCounter().Name(info.name).Help(HelpOf(info)).Register(registry_);
    } else {
      histograms_[info.id] =
          &prometheus::BuildHistogram().Name(info.name).Help(HelpOf(info)).Register(registry_);
    }
  }
  for (int phase = 0; phase < kPhaseCount; ++phase) {
    phases_[phase] = &histograms(Metric::kPhaseSeconds).Add({{"phase", kPhaseNames[phase]}}, kPhaseBounds);
  }
  auto& info = prometheus::BuildGauge()
                   .Name(InfoOf(Metric::kBuildInfo).name)
                   .Help(HelpOf(InfoOf(Metric::kBuildInfo)))
                   .Register(registry_);
  info.Add({{"version", build.version},
            {"commit", build.commit},
            {"simd", build.simd},
            {"cuda", build.cuda},
            {"faiss", build.faiss},
            {"rocksdb", build.rocksdb}})
      .Set(1);
}

Exporter::~Exporter() = default;

prometheus::Family<prometheus::Counter>& Exporter::counters(Metric metric) {
  return *counters_.at(metric);
}
prometheus::Family<prometheus::Histogram>& Exporter::histograms(Metric metric) {
  return *histograms_.at(metric);
}

std::unique_ptr<EngineProbe> Exporter::MakeProbe(std::string_view memory) {
  MutexLock lock(&mu_);
  const size_t named = series_.size() - series_.count(kOtherMemory);
  std::string label(memory);
  if (series_.find(label) == series_.end() && named >= memory_labels_) label = kOtherMemory;
  Series& entry = series_[label];
  if (entry.series == nullptr)
    entry.series = std::make_unique<MemorySeries>(static_cast<SeriesFamilies*>(this), label);
  ++entry.probes;
  return std::make_unique<Probe>(this, entry.series.get());
}

void Exporter::Release(MemorySeries* series) {
  MutexLock lock(&mu_);
  const auto it = series_.find(series->label());
  if (--it->second.probes == 0) series_.erase(it);
}

void Exporter::ReadFigures(std::function<std::vector<MemoryFigures>()> read) {
  MutexLock lock(&mu_);
  read_ = std::move(read);
}

void Exporter::ReadServer(std::function<ServerFigures()> read) {
  MutexLock lock(&mu_);
  read_server_ = std::move(read);
}

void Exporter::OnCall(std::string_view method, absl::StatusCode code, absl::Duration latency) {
  const prometheus::Labels labels = {{"method", std::string(method)}, {"code", CodeName(code)}};
  counters(Metric::kGrpcRequests).Add(labels).Increment();  // Add finds what is there already
  histograms(Metric::kGrpcSeconds).Add(labels, kRequestBounds).Observe(absl::ToDoubleSeconds(latency));
}

void Exporter::OnDeviceSearch(int device, absl::Duration taken) {
  histograms(Metric::kGpuSearchSeconds)
      .Add({{"device", std::to_string(device)}}, kPhaseBounds)  // Add finds what is there already
      .Observe(absl::ToDoubleSeconds(taken));
}

void Exporter::OnRefused(std::string_view memory, std::string_view reason) {
  MutexLock lock(&mu_);
  if (!memory.empty()) {
    auto entry = series_.find(memory);
    if (entry == series_.end()) entry = series_.find(kOtherMemory);
    if (entry != series_.end()) return entry->second.series->OnRejected(reason);
  }
  auto it = unknown_memory_.find(reason);
  if (it == unknown_memory_.end()) {
    auto& counter = counters(Metric::kRejected).Add({{"memory", ""}, {"reason", std::string(reason)}});
    it = unknown_memory_.emplace(reason, &counter).first;
  }
  it->second->Increment();
}

void Exporter::OnPhases(const TurnReport& report) {
  for (int phase = 0; phase < kPhaseCount; ++phase) {
    if (report.phases[phase] > absl::ZeroDuration())
      phases_[phase]->Observe(absl::ToDoubleSeconds(report.phases[phase]));
  }
}

std::string Exporter::Text() const {
  std::function<std::vector<MemoryFigures>()> read;
  std::function<ServerFigures()> read_server;
  std::set<std::string> named;
  {
    MutexLock lock(&mu_);
    read = read_;
    read_server = read_server_;
    for (const auto& [label, series] : series_) named.insert(label);
  }
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  Scrape scrape;
  if (read) {
    AddMemories(read(), [&](const std::string& memory) {
      return named.count(memory) ? memory : std::string(kOtherMemory);
    }, &scrape);
  }
  if (read_server) AddServer(read_server(), &scrape);
  AddProcess(&scrape);
  std::vector<prometheus::MetricFamily> scraped = scrape.Families();
  std::move(scraped.begin(), scraped.end(), std::back_inserter(families));
  std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace evoke
