// One memory under load, from the state it begins in to the judgement at the end.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/clock.h"
#include "client/load/driver.h"
#include "client/load/grpc_target.h"
#include "client/load/judge.h"
#include "client/load/measure.h"
#include "client/load/memory_setup.h"
#include "client/load/options.h"
#include "client/load/pacer.h"
#include "client/load/rate_search.h"
#include "evoke/client.h"

namespace evoke::load {

// What was tried in a search.
struct Probe {
  bool met = false;
  MeasuredRun run;
};

// How it ended.
struct CampaignEnd {
  Judge::Verdict verdict;
  absl::Status replay;  // OK: every session's last mutation could be sent again
  absl::StatusOr<client::StateHashResult> state = absl::UnknownError("not asked for");
};

// Everything it is given outlives it. Thread-compatible; every method blocks.
class Campaign {
 public:
  struct Environment {
    client::Client& client;
    Clock& clock;
    const std::atomic<bool>& interrupted;
    MeasurementObserver& observer;
    std::function<void(const std::string&)> note;  // for people: what is being done
  };

  // Opens or makes the memory, fills it, and gets the lanes ready. INVALID_ARGUMENT when the server would
  // refuse every call: too many rows, neighbors or sessions.
  static absl::StatusOr<std::unique_ptr<Campaign>> Prepare(const Options& options, bool fresh,
                                                           Environment environment);

  // As the options ask for; not for searches.
  MeasuredRun Measure();
  // The highest rate within the bounds; its measurement is the best of `probes` that was met.
  RateSearch Search(std::vector<Probe>* probes);
  // Sends the last mutations again, and asks for the final state. Once, last.
  CampaignEnd Finish();

  // As the memory was when the run began.
  const client::MemoryDescription& memory() const { return begin_; }
  const RowSource::Options& rows() const { return rows_options_; }

 private:
  Campaign(const Options& options, Environment environment, client::Memory memory,
           const client::MemoryDescription& begin, std::unique_ptr<GrpcTarget> target);
  absl::StatusOr<Scrape> ScrapeMetrics() const;

  const Options& options_;
  const Environment environment_;
  client::Memory memory_;
  const client::MemoryDescription begin_;
  const RowSource::Options rows_options_;
  const RowSource rows_;
  const std::unique_ptr<GrpcTarget> target_;
  Judge judge_;
  Driver driver_;
  Pacer pacer_;
  Measurer measurer_;
};

}  // namespace evoke::load
