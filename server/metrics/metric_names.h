// The one table of what /metrics exposes. The exporter makes nothing else, and a test compares the two.
//
// Base units; counters end in _total. Labels come from bounded sets only: `memory` is the first memories by
// name up to a limit, then "_other"; never slots, values, sessions or peers.
#pragma once

#include <cstddef>

namespace evoke {

enum class MetricType { kCounter, kGauge, kHistogram };

// An index into kMetricTable.
enum class Metric {
  kBuildInfo,
  kGrpcRequests,
  kGrpcSeconds,
  kPhaseSeconds,
  kMore,
  kTurnRows,
  kMailboxRows,
  kRejected,
  kObservations,
  kSlotsLive,
  kSlotsCapacity,
  kStep,
  kTurn,
  kValuesDistinct,
  kRamBytes,
  kStoredBytes,
  kLoaded,
  kEvictedAge,
  kSlotAge,
  kTop1,
  kMarginLoss,
  kConfidence,
  kMarginViolation,
  kNoPositive,
  kNoNegative,
  kLastSlotEvicted,
  kUncertifiedRows,
  kKeyDrift,
  kRetryDuplicates,
  kCommitSeconds,
  kAuditSlots,
  kAuditDifferences,
  kSnapshotLastSuccess,
  kSnapshotSeconds,
  kSnapshotBytes,
  kSnapshotFailures,
  kAlarmActive,
  kProcessCpu,
  kProcessResident,
  kProcessVirtual,
  kProcessOpenFds,
  kProcessMaxFds,
  kProcessStart,
  kProcessThreads,
  kCount
};

struct MetricInfo {
  Metric id;
  const char* name;
  MetricType type;
  const char* labels;  // comma list, in the order of the exposition
  const char* help;
};

inline constexpr MetricInfo kMetricTable[] = {
    {Metric::kBuildInfo, "evoke_build_info", MetricType::kGauge, "commit,cuda,faiss,rocksdb,simd,version",
     "1; what is running."},
    {Metric::kGrpcRequests, "evoke_grpc_requests_total", MetricType::kCounter, "code,method",
     "Calls that ended, whatever became of them."},
    {Metric::kGrpcSeconds, "evoke_grpc_request_seconds", MetricType::kHistogram, "code,method",
     "From the request's arrival to the reply's departure, for every outcome."},
    {Metric::kPhaseSeconds, "evoke_request_phase_seconds", MetricType::kHistogram, "phase",
     "Time of a turn in each phase; queue is the longest wait of its requests."},
    {Metric::kMore, "evoke_more_total", MetricType::kCounter, "memory,what", "Second requests to a shard."},
    {Metric::kTurnRows, "evoke_turn_rows", MetricType::kHistogram, "memory", "Rows of a turn."},
    {Metric::kMailboxRows, "evoke_mailbox_rows", MetricType::kGauge, "memory", "Rows that wait for a turn."},
    {Metric::kRejected, "evoke_rejected_total", MetricType::kCounter, "memory,reason",
     "Requests refused before a turn; no memory when none of the name exists."},
    {Metric::kObservations, "evoke_observations_total", MetricType::kCounter, "memory,outcome",
     "Rows that write, by what became of them."},
    {Metric::kSlotsLive, "evoke_slots_live", MetricType::kGauge, "memory", "Slots that hold a value."},
    {Metric::kSlotsCapacity, "evoke_slots_capacity", MetricType::kGauge, "memory", "Slots in all."},
    {Metric::kStep, "evoke_step", MetricType::kGauge, "memory", "Observations written since Create."},
    {Metric::kTurn, "evoke_turn", MetricType::kGauge, "memory", "Durable commits since Create."},
    {Metric::kValuesDistinct, "evoke_values_distinct", MetricType::kGauge, "memory",
     "Values with at least one live slot."},
    {Metric::kRamBytes, "evoke_memory_ram_bytes", MetricType::kGauge, "memory", "RAM for slots and index."},
    {Metric::kStoredBytes, "evoke_memory_stored_bytes", MetricType::kGauge, "memory",
     "Bytes on disk; of an ephemeral memory: RAM for payloads and replies."},
    {Metric::kLoaded, "evoke_memory_loaded_ratio", MetricType::kGauge, "memory",
     "Share of the live slots read by a recovery; 1 when serving."},
    {Metric::kEvictedAge, "evoke_evicted_age_steps", MetricType::kHistogram, "memory",
     "Age of slots when they were evicted."},
    {Metric::kSlotAge, "evoke_slot_age_steps", MetricType::kGauge, "memory,quantile",
     "Quantiles of the ages of a sample of the live slots."},
    {Metric::kTop1, "evoke_top1_total", MetricType::kCounter, "correct,memory,seen",
     "Training rows by whether the answer was right, and by live observations of the value before."},
    {Metric::kMarginLoss, "evoke_margin_loss", MetricType::kHistogram, "memory", "Loss of training rows."},
    {Metric::kConfidence, "evoke_confidence", MetricType::kHistogram, "correct,memory",
     "Confidence of answered training rows."},
    {Metric::kMarginViolation, "evoke_margin_violation_total", MetricType::kCounter, "memory",
     "Training rows with a loss above 0."},
    {Metric::kNoPositive, "evoke_no_positive_total", MetricType::kCounter, "memory",
     "Training rows for which no slot of the right value was found."},
    {Metric::kNoNegative, "evoke_no_negative_total", MetricType::kCounter, "memory",
     "Training rows without a neighbor of another value."},
    {Metric::kLastSlotEvicted, "evoke_last_slot_of_value_evicted_total", MetricType::kCounter, "memory",
     "Evictions that left their value without a slot."},
    {Metric::kUncertifiedRows, "evoke_uncertified_rows_total", MetricType::kCounter, "memory",
     "Rows that the index could not prove complete at first."},
    {Metric::kKeyDrift, "evoke_key_drift_cosine", MetricType::kHistogram, "memory",
     "1 - cos(old key, new key) of reinforced slots."},
    {Metric::kRetryDuplicates, "evoke_retry_duplicates_total", MetricType::kCounter, "memory",
     "Retries answered from stored replies."},
    {Metric::kCommitSeconds, "evoke_commit_seconds", MetricType::kHistogram, "memory",
     "Time to make a turn durable."},
    {Metric::kAuditSlots, "evoke_audit_slots_total", MetricType::kCounter, "memory",
     "Slots compared with index and store in the background."},
    {Metric::kAuditDifferences, "evoke_audit_differences_total", MetricType::kCounter, "memory,what",
     "Differences found by it: index (repaired from the table) or store (not repaired)."},
    {Metric::kSnapshotLastSuccess, "evoke_snapshot_last_success_timestamp_seconds", MetricType::kGauge, "memory",
     "When the latest snapshot was made, as Unix time; none: there is none that this process knows of."},
    {Metric::kSnapshotSeconds, "evoke_snapshot_duration_seconds", MetricType::kHistogram, "memory",
     "Time to make a snapshot."},
    {Metric::kSnapshotBytes, "evoke_snapshot_bytes", MetricType::kGauge, "memory", "Of the latest snapshot."},
    {Metric::kSnapshotFailures, "evoke_snapshot_failures_total", MetricType::kCounter, "memory",
     "Snapshots that were asked for, by hand or by the clock, and not made."},
    {Metric::kAlarmActive, "evoke_alarm_active", MetricType::kGauge, "alarm,memory",
     "1 while it lasts: disk (it refuses writes, or reads), corrupt (damage was found)."},
    {Metric::kProcessCpu, "process_cpu_seconds_total", MetricType::kCounter, "", "User and system time."},
    {Metric::kProcessResident, "process_resident_memory_bytes", MetricType::kGauge, "", "Resident memory."},
    {Metric::kProcessVirtual, "process_virtual_memory_bytes", MetricType::kGauge, "", "Virtual memory."},
    {Metric::kProcessOpenFds, "process_open_fds", MetricType::kGauge, "", "Open file descriptors."},
    {Metric::kProcessMaxFds, "process_max_fds", MetricType::kGauge, "",
     "Largest number of open file descriptors."},
    {Metric::kProcessStart, "process_start_time_seconds", MetricType::kGauge, "", "Start, as Unix time."},
    {Metric::kProcessThreads, "process_threads", MetricType::kGauge, "", "Threads."},
};

constexpr bool IsInOrder() {
  for (size_t i = 0; i < sizeof kMetricTable / sizeof kMetricTable[0]; ++i) {
    if (static_cast<size_t>(kMetricTable[i].id) != i) return false;
  }
  return sizeof kMetricTable / sizeof kMetricTable[0] == static_cast<size_t>(Metric::kCount);
}
static_assert(IsInOrder());

constexpr const MetricInfo& InfoOf(Metric metric) {
  return kMetricTable[static_cast<size_t>(metric)];
}

inline constexpr const char* kOtherMemory = "_other";

}  // namespace evoke
