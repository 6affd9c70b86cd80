// What a run is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/load/arrivals.h"
#include "client/load/mix.h"
#include "client/load/row_source.h"
#include "evoke/client_options.h"
#include "evoke/requests.h"
#include "evoke/types.h"

namespace evoke::load {

// What the calls are.
struct WorkloadOptions {
  Mix mix = Mix({0, 0, 1});                               // by Method
  uint32_t rows = 1;                                      // of a call
  std::optional<uint32_t> k;                              // of queries; absent: the memory's
  bool neighbors = false;                                 // queries ask for their neighbors
  client::ReturnForm form = client::ReturnForm::kScores;  // of train steps
};

// How the calls come.
struct LoadOptions {
  int connections = 1;
  int in_flight = 1;           // calls at a time on each connection, at most
  std::optional<double> rate;  // calls a second, all connections together: open loop. Absent: closed loop
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  std::optional<uint64_t> calls;  // end after so many
  bool shed =
      false;  // a RESOURCE_EXHAUSTED call is counted and dropped; false: sent again when the server says
};

struct LatencyBound {
  double percentile = 99;
  absl::Duration latency;
};

// How long is measured.
struct MeasurementOptions {
  absl::Duration warmup = absl::Seconds(2);
  absl::Duration window = absl::Seconds(2);
  int stable_windows = 3;  // that have to agree
  double tolerance = 0.1;  // with their mean
  double percentile = 50;  // of the latency that has to agree
  int max_windows = 10;    // then the last stable_windows count although they do not agree
};

struct SearchOptions {
  std::vector<LatencyBound> bounds;  // all of which must hold
  double highest = 1e6;              // calls a second
  double precision = 0.05;
};

struct MemoryOptions {
  std::string name = "load";
  bool create = false;  // make it, by `spec`; fine when an equal one exists
  client::MemorySpec spec;
  std::optional<uint64_t> fill;  // live slots that it is to have before the run
  bool shared = false;           // others write to it meanwhile
};

// Everything.
struct Options {
  client::ClientOptions client;
  MemoryOptions memory;
  WorkloadOptions workload;
  LoadOptions load;
  RowSource::Options rows;  // its dim is the memory's
  MeasurementOptions measurement;
  std::optional<SearchOptions> search;
  bool verify = false;                 // the same calls on two fresh memories, whose hashes must agree
  std::string metrics_url;             // empty: not looked at
  std::string json_file;               // empty: none; "-": stdout, instead of the text
  std::vector<std::string> arguments;  // as given, for the report
};

}  // namespace evoke::load
