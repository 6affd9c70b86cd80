#include "client/load/campaign.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/load/http_get.h"

namespace evoke::load {
namespace {

constexpr absl::Duration kScrapeTimeout = absl::Seconds(5);
constexpr absl::Duration kDrainBeyondDeadline = absl::Seconds(5);

absl::Status CheckLimits(const Options& options, const client::Limits& limits) {
  if (options.workload.rows > limits.max_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("--rows ", options.workload.rows, ", the server takes at most ", limits.max_rows));
  }
  if (options.workload.k.value_or(0) > limits.max_k) {
    return absl::InvalidArgumentError(
        absl::StrCat("--k ", *options.workload.k, ", the server takes at most ", limits.max_k));
  }
  const int64_t lanes = int64_t{options.load.connections} * options.load.in_flight;
  if (options.workload.mix.writes() && lanes > int64_t{limits.max_sessions}) {
    // The server would forget sessions in mid-run, and what was in doubt in them could never be told.
    return absl::InvalidArgumentError(
        absl::StrCat(options.load.connections, " connections x ", options.load.in_flight, " in flight are ",
                     lanes, " sessions, the server keeps ", limits.max_sessions, " of a memory"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Campaign>> Campaign::Prepare(const Options& options, bool fresh,
                                                            Environment environment) {
  const absl::StatusOr<client::ServerStatus> server = environment.client.Status();
  if (!server.ok()) return server.status();
  if (absl::Status status = CheckLimits(options, server->limits); !status.ok()) return status;
  absl::StatusOr<client::Memory> memory = OpenMemory(environment.client, options.memory, fresh);
  if (!memory.ok()) return memory.status();
  absl::StatusOr<client::MemoryDescription> begin = memory->Describe();
  if (!begin.ok()) return begin.status();

  if (options.memory.fill.has_value()) {
    const uint64_t wanted = *options.memory.fill == 0 ? begin->spec.capacity : *options.memory.fill;
    absl::Time told = environment.clock.Now();
    const auto note = [&](uint64_t live) {
      if (live < wanted && environment.clock.Now() < told + absl::Seconds(1)) return;
      told = environment.clock.Now();
      environment.note(absl::StrCat("filled ", live, " of ", wanted, " slots"));
    };
    const auto stop = [&] { return environment.interrupted.load(std::memory_order_relaxed); };
    const absl::Status filled =
        Fill(*memory, RowSource(RowsFor(options.rows, *begin)), server->limits, wanted, note, stop);
    if (!filled.ok()) return filled;
    begin = memory->Describe();
    if (!begin.ok()) return begin.status();
  }
  absl::StatusOr<std::unique_ptr<GrpcTarget>> target =
      GrpcTarget::Create(options.client, options.load.connections);
  if (!target.ok()) return target.status();
  return std::unique_ptr<Campaign>(
      new Campaign(options, std::move(environment), *std::move(memory), *begin, *std::move(target)));
}

Campaign::Campaign(const Options& options, Environment environment, client::Memory memory,
                   const client::MemoryDescription& begin, std::unique_ptr<GrpcTarget> target)
    : options_(options),
      environment_(std::move(environment)),
      memory_(std::move(memory)),
      begin_(begin),
      rows_options_(RowsFor(options.rows, begin)),
      rows_(rows_options_),
      target_(std::move(target)),
      judge_({.epoch = begin.epoch, .step = begin.step, .shared = options.memory.shared}),
      driver_({.connections = options.load.connections,
               .in_flight = options.load.in_flight,
               .calls = options.load.calls},
              {.memory = begin.name,
               .uid = begin.uid.ToBytes(),
               .workload = options.workload,
               .shed = options.load.shed,
               .deadline = options.client.deadline,
               .retry = options.client.retry,
               .seed = options.rows.seed,
               .turn = begin.turn,
               .rows = &rows_,
               .target = target_.get(),
               .judge = &judge_,
               .clock = &environment_.clock}),
      pacer_(&driver_, &environment_.clock),
      measurer_({.measurement = options.measurement,
                 .until_finished = options.load.calls.has_value(),
                 .memory = begin.name,
                 .drain = options.client.deadline + kDrainBeyondDeadline,
                 .scrape = options.metrics_url.empty() ? std::function<absl::StatusOr<Scrape>()>()
                                                       : [this] { return ScrapeMetrics(); }},
                &driver_, &environment_.clock, &environment_.interrupted, &environment_.observer) {}

absl::StatusOr<Scrape> Campaign::ScrapeMetrics() const {
  const absl::StatusOr<std::string> page = HttpGet(options_.metrics_url, kScrapeTimeout);
  if (!page.ok()) return page.status();
  return Scrape::Parse(*page);
}

MeasuredRun Campaign::Measure() {
  if (!options_.load.rate.has_value()) return measurer_.Measure(std::nullopt);
  return measurer_.Measure(Arrivals::Options{
      .kind = options_.load.arrivals, .rate = *options_.load.rate, .seed = options_.rows.seed});
}

RateSearch Campaign::Search(std::vector<Probe>* probes) {
  const SearchOptions& plan = *options_.search;
  const double start = std::min(options_.load.rate.value_or(100), plan.highest);
  RateSearch search(
      {.start = start, .lowest = std::min(start, 1.0), .highest = plan.highest, .precision = plan.precision});
  for (std::optional<double> rate;
       (rate = search.Next()).has_value() && !environment_.interrupted.load(std::memory_order_relaxed);) {
    // Another seed each time, so that not every try has the same bursts; the same ones in the same search
    // again.
    Probe probe{.run = measurer_.Measure(Arrivals::Options{.kind = options_.load.arrivals,
                                                           .rate = *rate,
                                                           .seed = options_.rows.seed + probes->size()},
                                         plan.bounds)};
    if (probe.run.interrupted) break;  // says nothing about the rate
    probe.met = probe.run.Meets(plan.bounds);
    environment_.note(absl::StrFormat("%.6g calls/s: %s", *rate, probe.met ? "met" : "not met"));
    search.Tell(probe.met);
    probes->push_back(std::move(probe));
  }
  return search;
}

CampaignEnd Campaign::Finish() {
  CampaignEnd end{.replay = driver_.Replay()};
  end.state = memory_.StateHash();
  if (end.state.ok()) judge_.OnEnd(end.state->header.epoch, end.state->header.step);
  end.verdict = judge_.verdict();
  return end;
}

}  // namespace evoke::load
