// What a run found, as one JSON value. README.md explains its fields.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/load/campaign.h"
#include "client/load/machine.h"
#include "client/load/options.h"
#include "evoke/types.h"
#include "nlohmann/json.hpp"

namespace evoke::load {

using Json = nlohmann::ordered_json;

// Names the schema: a reader of this one reads every report that says so. Fields may be added.
inline constexpr char kReportFormat[] = "evoke-load 1";

// Durations are milliseconds in fields that end in _ms, else seconds; rates are a second.
Json ToJson(const Options& options, const RowSource::Options& rows);
Json ToJson(const Machine& machine);
Json ToJson(const client::ServerStatus& server);
Json ToJson(const client::MemoryDescription& memory);
Json ToJson(const MeasuredRun& run);
Json ToJson(const RateSearch& search, const std::vector<Probe>& probes, const SearchOptions& options);
// Two or three fields: `correctness`, and `state` or else `error`.
Json ToJson(const CampaignEnd& end);
Json ToJson(const absl::Status& error);

}  // namespace evoke::load
