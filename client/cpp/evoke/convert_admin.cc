// The half of convert.h that describes memories and servers.
#include "evoke/convert.h"

namespace evoke::client {

void ToProto(const MemorySpec& spec, v1::MemorySpec* proto) {
  proto->set_key_dim(spec.key_dim);
  proto->set_capacity(spec.capacity);
  proto->set_seed(spec.seed);
  proto->set_write_rule(static_cast<v1::WriteRule>(spec.write_rule));
  if (spec.choose_k.has_value()) proto->set_choose_k(*spec.choose_k);
  if (spec.margin.has_value()) proto->set_margin(*spec.margin);
  if (spec.inverse_temperature.has_value()) proto->set_inverse_temperature(*spec.inverse_temperature);
  if (spec.age_noise.has_value()) proto->set_age_noise(*spec.age_noise);
  proto->set_batch(static_cast<v1::BatchMode>(spec.batch));
  if (spec.merge_on_miss.has_value()) proto->set_merge_on_miss(*spec.merge_on_miss);
  if (spec.fold_misses.has_value()) proto->set_fold_misses(*spec.fold_misses);
  if (spec.payload_history.has_value()) proto->set_payload_history(*spec.payload_history);
  if (spec.partitions.has_value()) proto->set_partitions(*spec.partitions);
  proto->set_durability(static_cast<v1::Durability>(spec.durability));
}

MemorySpec FromProto(const v1::MemorySpec& proto) {
  MemorySpec spec;
  spec.key_dim = proto.key_dim();
  spec.capacity = proto.capacity();
  spec.seed = proto.seed();
  spec.write_rule = static_cast<WriteRule>(proto.write_rule());
  if (proto.has_choose_k()) spec.choose_k = proto.choose_k();
  if (proto.has_margin()) spec.margin = proto.margin();
  if (proto.has_inverse_temperature()) spec.inverse_temperature = proto.inverse_temperature();
  if (proto.has_age_noise()) spec.age_noise = proto.age_noise();
  spec.batch = static_cast<BatchMode>(proto.batch());
  if (proto.has_merge_on_miss()) spec.merge_on_miss = proto.merge_on_miss();
  if (proto.has_fold_misses()) spec.fold_misses = proto.fold_misses();
  if (proto.has_payload_history()) spec.payload_history = proto.payload_history();
  if (proto.has_partitions()) spec.partitions = proto.partitions();
  spec.durability = static_cast<Durability>(proto.durability());
  return spec;
}

ReplyHeader FromProto(const v1::ReplyHeader& proto) {
  return {.memory = proto.memory(),
          .uid = Id128::FromBytes(proto.uid()),
          .epoch = proto.epoch(),
          .term = proto.term(),
          .turn = proto.turn(),
          .step = proto.step(),
          .durability = static_cast<Durability>(proto.durability()),
          .instance = Id128::FromBytes(proto.instance())};
}

MemoryDescription FromProto(const v1::MemoryDescription& proto) {
  return {.name = proto.name(),
          .uid = Id128::FromBytes(proto.uid()),
          .spec = FromProto(proto.spec()),
          .state = static_cast<MemoryState>(proto.state()),
          .epoch = proto.epoch(),
          .turn = proto.turn(),
          .step = proto.step(),
          .live_slots = proto.live_slots(),
          .distinct_values = proto.distinct_values(),
          .state_hash = proto.state_hash(),
          .shards = proto.shards(),
          .index = proto.index(),
          .ram_bytes = proto.ram_bytes(),
          .stored_bytes = proto.stored_bytes(),
          .sessions = proto.sessions(),
          .slots_loaded = proto.slots_loaded(),
          .slots_to_load = proto.slots_to_load(),
          .message = proto.message(),
          .first_kept_turn = proto.first_kept_turn()};
}

MemoryPlan FromProto(const v1::MemoryPlan& proto, const v1::MemorySpec& spec) {
  return {.spec = FromProto(spec),
          .fits = proto.fits(),
          .ram_bytes = proto.ram_bytes(),
          .table_bytes = proto.table_bytes(),
          .index_bytes = proto.index_bytes(),
          .session_bytes = proto.session_bytes(),
          .payload_bytes = proto.payload_bytes(),
          .disk_bytes = proto.disk_bytes(),
          .disk_slot_bytes = proto.disk_slot_bytes(),
          .disk_record_bytes = proto.disk_record_bytes(),
          .disk_headroom_bytes = proto.disk_headroom_bytes(),
          .gpu_bytes = proto.gpu_bytes(),
          .recovery_seconds_estimate = proto.recovery_seconds_estimate(),
          .scan_seconds_estimate = proto.scan_seconds_estimate(),
          .budget_bytes = proto.budget_bytes(),
          .planned_bytes = proto.planned_bytes()};
}

ServerStatus FromProto(const v1::StatusResponse& proto) {
  const v1::Limits& limits = proto.limits();
  ServerStatus status{.version = proto.version(),
                      .instance = Id128::FromBytes(proto.instance()),
                      .state = static_cast<ServerState>(proto.state()),
                      .uptime_seconds = proto.uptime_seconds(),
                      .simd = proto.simd(),
                      .arithmetic_fingerprint = proto.arithmetic_fingerprint(),
                      .limits = {.max_message_bytes = limits.max_message_bytes(),
                                 .max_rows = limits.max_rows(),
                                 .max_k = limits.max_k(),
                                 .max_payload_bytes = limits.max_payload_bytes(),
                                 .mailbox_rows = limits.mailbox_rows(),
                                 .max_unacknowledged = limits.max_unacknowledged(),
                                 .max_sessions = limits.max_sessions(),
                                 .max_memories = limits.max_memories(),
                                 .mailbox_bytes = limits.mailbox_bytes(),
                                 .max_turn_rows = limits.max_turn_rows(),
                                 .memory_budget_bytes = limits.memory_budget_bytes(),
                                 .memory_planned_bytes = limits.memory_planned_bytes(),
                                 .max_open_exports = limits.max_open_exports(),
                                 .max_metadata_bytes = limits.max_metadata_bytes()}};
  for (const v1::MemoryDescription& memory : proto.memories()) status.memories.push_back(FromProto(memory));
  for (const v1::Alarm& alarm : proto.alarms()) {
    status.alarms.push_back({alarm.name(), alarm.memory(), alarm.message(), alarm.active_seconds()});
  }
  return status;
}

}  // namespace evoke::client
