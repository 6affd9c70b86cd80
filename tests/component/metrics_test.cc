// What /metrics exposes is what the table in metric_names.h says, no more and no less, and so does the one of the README.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/metrics/exporter.h"
#include "server/metrics/metric_names.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MemoryFigures Figures(const std::string& name) {
  MemoryFigures figures;
  figures.name = name;
  figures.spec.capacity = 100;
  figures.state = MemoryState::kServing;
  figures.step = Step(9);
  figures.live_count = 7;
  figures.uncertified_rows = 3;
  figures.sampled_ages = {1, 2, 3, 4, 100};
  figures.recall_found = 3;
  figures.recall_missed = 1;
  figures.shard_loads = {{.live_count = 4, .searched_rows = 20, .written_slots = 5}, {.live_count = 3}};
  figures.device_bytes = {{0, 4096}};
  figures.last_snapshot = absl::UnixEpoch() + absl::Seconds(1700000000);
  return figures;
}

// A turn in which everything happened.
TurnReport FullTurn() {
  TurnReport report;
  report.phases.fill(absl::Milliseconds(3));
  report.rows = 2;
  report.committed = true;
  report.outcomes[static_cast<int>(Outcome::kHit)] = 1;
  report.outcomes[static_cast<int>(Outcome::kEvict)] = 1;
  report.scored = {
      {.answered = true,
       .correct = true,
       .written = true,
       .seen = 3,
       .confidence = 0.75f,
       .loss = 0,
       .positive_found = true,
       .negative_found = true},
      {.answered = true,
       .correct = false,
       .written = true,
       .seen = 0,
       .confidence = 0.25f,
       .loss = 0.3f,
       .positive_found = false,
       .negative_found = true},
      {.answered = true, .correct = true, .written = false, .seen = 50, .confidence = 0.5f, .loss = 1}};
  report.evictions = {{.age = 40}};
  report.key_drifts = {0.01f};
  report.last_slots_evicted = 1;
  report.more_neighbors = 2;
  report.retry_duplicates = 1;
  return report;
}

struct Exposed {
  std::string type, help;
  std::set<std::string> labels;
};

// Families of an exposition, with the labels of all their series but `le`.
std::map<std::string, Exposed> Read(const std::string& text) {
  std::map<std::string, Exposed> families;
  std::string family;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (words[0] == "#") {
      family = words[2];
      (words[1] == "TYPE" ? families[family].type : families[family].help) = words[3];
      continue;
    }
    const size_t open = line.find('{');
    if (open == absl::string_view::npos) continue;
    for (absl::string_view pair :
         absl::StrSplit(line.substr(open + 1, line.rfind('}') - open - 1), ',', absl::SkipEmpty())) {
      const std::string name(pair.substr(0, pair.find('=')));
      if (name != "le") families[family].labels.insert(name);
    }
  }
  return families;
}

const char* TypeName(MetricType type) {
  return type == MetricType::kCounter ? "counter" : type == MetricType::kGauge ? "gauge" : "histogram";
}

TEST(ExporterTest, ExposesExactlyTheTable) {
  Exporter exporter({.version = "1"});
  const auto probe = exporter.MakeProbe("faces");
  probe->OnTurn(FullTurn());
  probe->OnRejected("MAILBOX_FULL");
  exporter.OnCall("MemoryService/Query", absl::StatusCode::kOk, absl::Milliseconds(2));
  exporter.OnDeviceSearch(0, absl::Milliseconds(2));
  exporter.ReadFigures([] { return std::vector{Figures("faces")}; });
  exporter.ReadServer([] { return ServerFigures(); });

  const auto exposed = Read(exporter.Text());
  std::set<std::string> table;
  for (const MetricInfo& info : kMetricTable) {
    table.insert(info.name);
    ASSERT_TRUE(exposed.count(info.name)) << info.name << " is in the table and not exposed";
    const Exposed& family = exposed.at(info.name);
    EXPECT_EQ(family.type, TypeName(info.type)) << info.name;
    EXPECT_EQ(family.help, HelpOf(info)) << info.name;
    EXPECT_EQ(absl::StrJoin(family.labels, ","), info.labels) << info.name;
  }
  for (const auto& [name, family] : exposed)
    EXPECT_TRUE(table.count(name)) << name << " is exposed and not in the table";
}

TEST(MetricTableTest, ReadmeHasTheSameTable) {
  std::ifstream readme(EVOKE_SOURCE_DIR "/server/metrics/README.md");
  std::vector<std::string> written, expected;
  for (std::string line; std::getline(readme, line);) {
    if (line.rfind("| `", 0) == 0) written.push_back(line);
  }
  for (const MetricInfo& info : kMetricTable) {
    const std::string labels = *info.labels ? absl::StrReplaceAll(info.labels, {{",", ", "}}) : "-";
    expected.push_back(absl::StrCat(
        "| ", absl::StrJoin({absl::StrCat("`", info.name, "`"), std::string(TypeName(info.type)), labels,
                             std::string(info.unit), std::string(info.help)}, " | "), " |"));
  }
  EXPECT_EQ(written, expected);
}

TEST(MetricTableTest, UnitsAreThoseOfTheNames) {
  for (const MetricInfo& info : kMetricTable) {
    const std::string name = info.name;
    for (const std::string unit : {"seconds", "bytes", "ratio", "steps"}) {
      if (name.find("_" + unit) != std::string::npos) {
        EXPECT_EQ(info.unit, unit) << name;
      }
    }
    EXPECT_NE(std::string(info.unit), "") << name;
    EXPECT_EQ(std::string(info.help).back(), '.') << name;
  }
}

TEST(MetricTableTest, NamesFollowTheConventions) {
  for (const MetricInfo& info : kMetricTable) {
    const std::string name = info.name;
    EXPECT_EQ(info.type == MetricType::kCounter, name.size() > 6 && name.substr(name.size() - 6) == "_total")
        << name;
    EXPECT_TRUE(name.rfind("evoke_", 0) == 0 || name.rfind("process_", 0) == 0) << name;
  }
}

TEST(ExporterTest, CountsWhatATurnReports) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  probe->OnTurn(FullTurn());
  const std::string text = exporter.Text();
  EXPECT_THAT(text, HasSubstr("evoke_observations_total{memory=\"faces\",outcome=\"miss_evict\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_top1_total{correct=\"true\",memory=\"faces\",seen=\"2-4\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_top1_total{correct=\"false\",memory=\"faces\",seen=\"0\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("evoke_top1_total{correct=\"true\",memory=\"faces\",seen=\"10+\"} 0\n"));  // did not write
  EXPECT_THAT(text, HasSubstr("evoke_margin_violation_total{memory=\"faces\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_no_positive_total{memory=\"faces\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_margin_loss_count{memory=\"faces\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("evoke_margin_loss_bucket{memory=\"faces\",le=\"0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_evicted_age_steps_bucket{memory=\"faces\",le=\"10\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("evoke_evicted_age_steps_bucket{memory=\"faces\",le=\"100\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_commit_seconds_sum{memory=\"faces\"} 0.003"));
  EXPECT_THAT(text, HasSubstr("evoke_more_total{memory=\"faces\",what=\"neighbors\"} 2\n"));
}

TEST(ExporterTest, LatencyIsObservedForEveryOutcome) {
  Exporter exporter({});
  exporter.OnCall("MemoryService/Query", absl::StatusCode::kUnavailable, absl::Seconds(3));
  EXPECT_THAT(
      exporter.Text(),
      HasSubstr("evoke_grpc_request_seconds_count{code=\"UNAVAILABLE\",method=\"MemoryService/Query\"} 1\n"));
}

TEST(ExporterTest, ADeletedMemoryLeavesTheExposition) {
  Exporter exporter({});
  auto probe = exporter.MakeProbe("faces");
  probe->OnTurn(FullTurn());
  probe->OnRejected("LOADING");
  EXPECT_THAT(exporter.Text(), HasSubstr("memory=\"faces\""));
  probe.reset();
  EXPECT_THAT(exporter.Text(), Not(HasSubstr("memory=\"faces\"")));
}

TEST(ExporterTest, MemoriesBeyondTheLimitShareALabelUntilThereIsRoom) {
  Exporter exporter({}, 2);
  auto a = exporter.MakeProbe("a"), b = exporter.MakeProbe("b"), c = exporter.MakeProbe("c"),
       d = exporter.MakeProbe("d");
  for (auto* probe : {&a, &b, &c, &d}) (*probe)->OnTurn(FullTurn());
  exporter.ReadFigures([] { return std::vector{Figures("a"), Figures("b"), Figures("c"), Figures("d")}; });
  const std::string text = exporter.Text();
  EXPECT_THAT(text, HasSubstr("evoke_no_positive_total{memory=\"b\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("evoke_no_positive_total{memory=\"_other\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("evoke_slots_live{memory=\"_other\"} 14\n"));
  EXPECT_THAT(text, Not(HasSubstr("\"c\"")));
  EXPECT_THAT(text, Not(HasSubstr("evoke_step{memory=\"_other\"}")));
  a.reset();
  const auto e = exporter.MakeProbe("e");
  EXPECT_THAT(exporter.Text(), HasSubstr("memory=\"e\""));
}

TEST(ExporterTest, RefusalsAreCountedByMemoryAndReason) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  exporter.OnRefused("faces", "BAD_SHAPE");
  exporter.OnRefused("", "MEMORY_NOT_FOUND");
  exporter.OnRefused("", "MEMORY_NOT_FOUND");
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_rejected_total{memory=\"faces\",reason=\"BAD_SHAPE\"} 1\n"));
  EXPECT_THAT(exporter.Text(),
              HasSubstr("evoke_rejected_total{memory=\"\",reason=\"MEMORY_NOT_FOUND\"} 2\n"));
}

TEST(ExporterTest, WhatTheStoreDoesIsAHistogramOfSyncsAndNumbersOfEachMemory) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  MemoryFigures figures = Figures("faces");
  figures.store.log_bytes = 1000;
  figures.store.log_syncs.counts[3] = 5;            // up to 100 us
  figures.store.log_syncs.counts.back() = 1;        // over 10 s
  figures.store.log_syncs.sum_seconds = 12.5;
  figures.store.compacted_bytes = 7;
  MemoryFigures ephemeral = Figures("ephemeral");
  ephemeral.spec.durability = SpecDurability::kMemory;
  const auto other = exporter.MakeProbe("ephemeral");
  exporter.ReadFigures([&] { return std::vector{figures, ephemeral}; });
  const std::string text = exporter.Text();
  EXPECT_THAT(text, HasSubstr("evoke_wal_bytes_total{memory=\"faces\"} 1000\n"));
  EXPECT_THAT(text, HasSubstr("evoke_wal_sync_seconds_bucket{memory=\"faces\",le=\"5e-05\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("evoke_wal_sync_seconds_bucket{memory=\"faces\",le=\"0.0001\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("evoke_wal_sync_seconds_bucket{memory=\"faces\",le=\"10\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("evoke_wal_sync_seconds_bucket{memory=\"faces\",le=\"+Inf\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("evoke_wal_sync_seconds_sum{memory=\"faces\"} 12.5\n"));
  EXPECT_THAT(text, HasSubstr("evoke_rocksdb_written_bytes_total{job=\"compaction\",memory=\"faces\"} 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("evoke_wal_bytes_total{memory=\"ephemeral\"}")));
}

TEST(ExporterTest, RecallIsAShareAndAbsentUntilSomethingWasLookedAt) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  MemoryFigures figures = Figures("faces");
  exporter.ReadFigures([&] { return std::vector{figures}; });
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_live_recall_ratio{memory=\"faces\"} 0.75\n"));
  EXPECT_THAT(exporter.Text(),
              HasSubstr("evoke_shard_rows_total{memory=\"faces\",shard=\"0\",what=\"searched\"} 20\n"));
  figures.recall_found = figures.recall_missed = 0;
  EXPECT_THAT(exporter.Text(), Not(HasSubstr("evoke_live_recall_ratio{")));
}

TEST(ExporterTest, WhatTheAuditFoundIsCountedAndRaisesTheAlarm) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  MemoryFigures figures = Figures("faces");
  figures.audit = {.slots = 100, .index_differences = 2, .store_differences = 3, .corrupt = "slot 5"};
  exporter.ReadFigures([&] { return std::vector{figures}; });
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_audit_slots_total{memory=\"faces\"} 100\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_audit_differences_total{memory=\"faces\",what=\"index\"} 2\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_audit_differences_total{memory=\"faces\",what=\"store\"} 3\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_alarm_active{alarm=\"corrupt\",memory=\"faces\"} 1\n"));
  figures.audit.corrupt.clear();
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_alarm_active{alarm=\"corrupt\",memory=\"faces\"} 0\n"));
}

TEST(ExporterTest, DeviceMemoryOfAllMemoriesAddsUpAndALostDeviceRaisesTheAlarm) {
  Exporter exporter({});
  const auto faces = exporter.MakeProbe("faces");
  const auto words = exporter.MakeProbe("words");
  MemoryFigures lost = Figures("faces");
  exporter.ReadFigures([&] { return std::vector{lost, Figures("words")}; });
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_gpu_memory_bytes{device=\"0\"} 8192\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_alarm_active{alarm=\"gpu_lost\",memory=\"faces\"} 0\n"));
  lost.degraded = "index gpu on GPU 0 is searched on the CPU instead";
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_alarm_active{alarm=\"gpu_lost\",memory=\"faces\"} 1\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_alarm_active{alarm=\"gpu_lost\",memory=\"words\"} 0\n"));
  exporter.OnDeviceSearch(1, absl::Milliseconds(2));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_gpu_search_seconds_count{device=\"1\"} 1\n"));
}

TEST(ExporterTest, FiguresAreReadWhenScraped) {
  Exporter exporter({});
  const auto probe = exporter.MakeProbe("faces");
  exporter.ReadFigures([] { return std::vector{Figures("faces")}; });
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_slots_live{memory=\"faces\"} 7\n"));
  EXPECT_THAT(exporter.Text(), HasSubstr("evoke_slot_age_steps{memory=\"faces\",quantile=\"0.5\"} 3\n"));
  exporter.ReadFigures(nullptr);
  EXPECT_THAT(exporter.Text(), Not(HasSubstr("evoke_slots_live{memory=\"faces\"}")));
}

}  // namespace
}  // namespace evoke
