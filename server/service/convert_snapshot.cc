#include "server/service/convert_snapshot.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/convert_admin.h"

namespace evoke {
namespace {

absl::StatusOr<Hash128> ToHash(const std::string& hex) {
  Hash128 hash;
  const bool digits = hex.size() == 32 && std::all_of(hex.begin(), hex.end(), [](char c) { return absl::ascii_isxdigit(c); });
  if (!digits || !absl::SimpleHexAtoi(hex.substr(0, 16), &hash.high) || !absl::SimpleHexAtoi(hex.substr(16), &hash.low)) {
    return BadArgument("token.state_hash", "token.state_hash must be 32 hex digits");
  }
  return hash;
}

}  // namespace

v1::SnapshotToken ToProto(const StateToken& token) {
  v1::SnapshotToken to;
  to.set_uid(token.uid.View().data(), token.uid.View().size());
  to.set_epoch(token.epoch.value);
  to.set_turn(token.turn.value);
  to.set_step(token.step.value);
  to.set_state_hash(token.state_hash.ToString());
  return to;
}

absl::StatusOr<v1::Snapshot> ToProto(const SnapshotManifest& manifest) {
  v1::Snapshot to;
  EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(manifest.spec));
  to.set_id(manifest.id);
  to.set_memory(manifest.memory);
  *to.mutable_token() = ToProto(TokenOf(manifest));
  *to.mutable_spec() = ToProto(spec);
  to.set_live_slots(manifest.live_count);
  to.set_bytes(manifest.bytes());
  to.set_files(static_cast<uint32_t>(manifest.files.size()));
  to.set_created_unix_ms(absl::ToUnixMillis(manifest.created));
  to.set_scheduled(manifest.scheduled);
  return to;
}

absl::StatusOr<Snapshots::Which> ToWhich(const v1::RestoreSnapshotRequest& request) {
  Snapshots::Which which{.id = request.id()};
  if (!request.has_token()) {
    if (which.id.empty()) return BadArgument("id", "name a snapshot by id or by token");
    return which;
  }
  const v1::SnapshotToken& token = request.token();
  StateToken to{.epoch = Epoch(token.epoch()), .turn = Turn(token.turn()), .step = Step(token.step())};
  EVOKE_ASSIGN_OR_RETURN(to.uid, ToUid("token.uid", token.uid()));
  if (to.uid.IsZero()) return BadArgument("token.uid", "token.uid must be 16 bytes");
  EVOKE_ASSIGN_OR_RETURN(to.state_hash, ToHash(token.state_hash()));
  which.token = to;
  return which;
}

absl::Status BadName(const char* field) {
  return BadArgument(field, absl::StrCat(field, " must be 1 to 128 of letters, digits, '.', '_', '-', not beginning with '.' or '-'"));
}

}  // namespace evoke
