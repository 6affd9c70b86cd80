#include "server/service/convert_admin.h"

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"

namespace evoke {
namespace {

// An enum field of a spec: `fallback` where it is not set, BAD_ARGUMENT for a number without a name.
template <typename To, typename From>
absl::Status ConvertEnum(const char* field, From from, bool known, To fallback, To* to) {
  if (static_cast<int>(from) == 0) {
    *to = fallback;
  } else if (known) {
    *to = static_cast<To>(from);  // the numbers of the two enums are the same
  } else {
    return BadArgument(field,
                       absl::StrCat(field, " is ", static_cast<int>(from), ", which is none of its values"));
  }
  return absl::OkStatus();
}

v1::MemoryState ToProto(MemoryState state) {
  return static_cast<v1::MemoryState>(state);
}
static_assert(static_cast<int>(MemoryState::kLoading) == v1::MEMORY_STATE_LOADING);
static_assert(static_cast<int>(MemoryState::kServing) == v1::MEMORY_STATE_SERVING);
static_assert(static_cast<int>(MemoryState::kReadOnly) == v1::MEMORY_STATE_READ_ONLY);
static_assert(static_cast<int>(MemoryState::kFailed) == v1::MEMORY_STATE_FAILED);
static_assert(static_cast<int>(MemoryState::kDraining) == v1::MEMORY_STATE_DRAINING);
static_assert(static_cast<int>(WriteRuleKind::kRareEvents) == v1::WRITE_RULE_RARE_EVENTS);
static_assert(static_cast<int>(BatchMode::kAtomic) == v1::BATCH_MODE_ATOMIC);
static_assert(static_cast<int>(BatchMode::kSequential) == v1::BATCH_MODE_SEQUENTIAL);
static_assert(static_cast<int>(SpecDurability::kMemory) == v1::DURABILITY_MEMORY);
static_assert(static_cast<int>(SpecDurability::kWal) == v1::DURABILITY_WAL);
static_assert(static_cast<int>(SpecDurability::kFsync) == v1::DURABILITY_FSYNC);
static_assert(static_cast<int>(Durability::kFsync) == v1::DURABILITY_FSYNC);

}  // namespace

absl::StatusOr<MemorySpec> ToSpec(const v1::MemorySpec& from) {
  MemorySpec spec;
  spec.key_dim = from.key_dim();
  spec.capacity = from.capacity();
  spec.seed = from.seed();
  EVOKE_RETURN_IF_ERROR(ConvertEnum("spec.write_rule", from.write_rule(),
                                    v1::WriteRule_IsValid(from.write_rule()), spec.write_rule,
                                    &spec.write_rule));
  EVOKE_RETURN_IF_ERROR(
      ConvertEnum("spec.batch", from.batch(), v1::BatchMode_IsValid(from.batch()), spec.batch, &spec.batch));
  EVOKE_RETURN_IF_ERROR(ConvertEnum("spec.durability", from.durability(),
                                    v1::Durability_IsValid(from.durability()), spec.durability,
                                    &spec.durability));
  if (from.has_choose_k()) spec.choose_k = from.choose_k();
  if (from.has_margin()) spec.margin = from.margin();
  if (from.has_inverse_temperature()) spec.inverse_temperature = from.inverse_temperature();
  spec.age_noise = from.has_age_noise() ? from.age_noise() : MemorySpec::DefaultAgeNoise(spec.capacity);
  if (from.has_merge_on_miss()) spec.merge_on_miss = from.merge_on_miss();
  if (from.has_fold_misses()) spec.fold_misses = from.fold_misses();
  if (from.has_payload_history()) spec.payload_history = from.payload_history();
  if (from.has_partitions()) spec.partitions = from.partitions();
  if (const absl::Status valid = ValidateSpec(spec); !valid.ok()) {
    // Its messages begin with the name of the field.
    const std::string message = absl::StrCat("spec.", valid.message());
    return BadArgument(message.substr(0, message.find(' ')), message);
  }
  return spec;
}

v1::MemorySpec ToProto(const MemorySpec& spec) {
  v1::MemorySpec to;
  to.set_key_dim(spec.key_dim);
  to.set_capacity(spec.capacity);
  to.set_seed(spec.seed);
  to.set_write_rule(static_cast<v1::WriteRule>(spec.write_rule));
  to.set_choose_k(spec.choose_k);
  to.set_margin(spec.margin);
  to.set_inverse_temperature(spec.inverse_temperature);
  to.set_age_noise(spec.age_noise);
  to.set_batch(static_cast<v1::BatchMode>(spec.batch));
  if (spec.merge_on_miss) to.set_merge_on_miss(*spec.merge_on_miss);
  if (spec.fold_misses) to.set_fold_misses(*spec.fold_misses);
  to.set_payload_history(spec.payload_history);
  to.set_partitions(spec.partitions);
  to.set_durability(static_cast<v1::Durability>(spec.durability));
  return to;
}

v1::MemoryDescription ToProto(const MemoryFigures& figures) {
  v1::MemoryDescription to;
  to.set_name(figures.name);
  to.set_uid(figures.uid.View().data(), figures.uid.View().size());
  *to.mutable_spec() = ToProto(figures.spec);
  to.set_state(ToProto(figures.state));
  to.set_epoch(figures.epoch.value);
  to.set_turn(figures.turn.value);
  to.set_step(figures.step.value);
  to.set_live_slots(figures.live_count);
  to.set_distinct_values(figures.distinct_values);
  to.set_state_hash(figures.state_hash.ToString());
  to.set_shards(figures.shards);
  to.set_index(figures.index);
  to.set_ram_bytes(figures.ram_bytes);
  to.set_stored_bytes(figures.stored_bytes);
  to.set_sessions(figures.sessions);
  if (figures.state == MemoryState::kLoading) {
    to.set_slots_loaded(figures.slots_loaded);
    to.set_slots_to_load(figures.slots_to_load);
  }
  to.set_message(figures.why.message().data(), figures.why.message().size());
  to.set_first_kept_turn(figures.first_kept_turn.value);
  return to;
}

v1::MemoryDescription ToProto(const MemoryFigures& figures, const InspectReply& inspected) {
  v1::MemoryDescription to = ToProto(figures);
  to.set_epoch(inspected.state.epoch.value);
  to.set_turn(inspected.state.turn.value);
  to.set_step(inspected.state.step.value);
  to.set_live_slots(inspected.live_count);
  to.set_distinct_values(inspected.distinct_values);
  to.set_state_hash(inspected.state_hash.ToString());
  to.set_sessions(inspected.sessions);
  return to;
}

v1::MemoryPlan ToProto(const MemoryPlan& plan, const Catalog::Budget& budget) {
  v1::MemoryPlan to;
  to.set_ram_bytes(plan.ram_bytes);
  to.set_table_bytes(plan.table_bytes);
  to.set_index_bytes(plan.index_bytes);
  to.set_session_bytes(plan.session_bytes);
  to.set_payload_bytes(plan.payload_bytes);
  to.set_disk_bytes(plan.disk_bytes);
  to.set_disk_slot_bytes(plan.disk_slot_bytes);
  to.set_disk_record_bytes(plan.disk_record_bytes);
  to.set_disk_headroom_bytes(plan.disk_headroom_bytes);
  to.set_gpu_bytes(plan.gpu_bytes);
  to.set_recovery_seconds_estimate(plan.recovery_seconds_estimate);
  to.set_scan_seconds_estimate(plan.scan_seconds_estimate);
  to.set_budget_bytes(budget.bytes);
  to.set_planned_bytes(budget.planned);
  to.set_fits(budget.Fits(plan.ram_bytes));
  return to;
}

StateName ToStateName(const MemoryFigures& figures) {
  return {.memory = figures.name,
          .uid = figures.uid,
          .epoch = figures.epoch,
          .term = Term(1),
          .turn = figures.turn,
          .step = figures.step,
          .durability = static_cast<Durability>(figures.spec.durability)};
}

}  // namespace evoke
