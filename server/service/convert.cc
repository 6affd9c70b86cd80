#include "server/service/convert.h"

#include "absl/strings/str_cat.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/base/errors.h"
#include "server/base/status_macros.h"

namespace evoke {

absl::StatusOr<MemoryUid> ToUid(const char* field, std::string_view bytes) {
  if (bytes.empty()) return MemoryUid{};
  if (bytes.size() != 16)
    return BadArgument(field, absl::StrCat(field, " has ", bytes.size(), " bytes, expects 0 or 16"));
  return MemoryUid::FromView(bytes);
}

absl::StatusOr<MemoryRequirement> ToRequirement(const v1::MemoryRef& ref) {
  if (ref.name().empty()) return BadArgument("memory.name", "memory.name is empty, a memory must be named");
  MemoryRequirement requirement{.name = ref.name(), .min_turn = ref.min_turn()};
  EVOKE_ASSIGN_OR_RETURN(requirement.uid, ToUid("memory.uid", ref.uid()));
  if (ref.has_epoch()) requirement.epoch = ref.epoch();
  return requirement;
}

absl::StatusOr<MutationId> ToMutation(const v1::Mutation& mutation) {
  if (mutation.session().size() != 16) {
    return BadArgument("mutation.session", absl::StrCat("mutation.session has ", mutation.session().size(),
                                                        " bytes, expects 16"));
  }
  if (mutation.number() == 0)
    return BadArgument("mutation.number", "mutation.number is 0, the first one is 1");
  if (mutation.first_unacknowledged() > mutation.number()) {
    return BadArgument("mutation.first_unacknowledged",
                       absl::StrCat("mutation.first_unacknowledged is ", mutation.first_unacknowledged(),
                                    ", above the number ", mutation.number()));
  }
  return MutationId{.session = SessionId::FromView(mutation.session()),
                    .number = mutation.number(),
                    .first_unacknowledged = mutation.first_unacknowledged(),
                    .opened_after = mutation.opened_after()};
}

void FillStoredHeader(const StateName& state, v1::ReplyHeader* header) {
  header->set_memory(state.memory);
  header->set_uid(state.uid.View().data(), state.uid.View().size());
  header->set_epoch(state.epoch.value);
  header->set_turn(state.turn.value);
  header->set_step(state.step.value);
  header->set_durability(static_cast<v1::Durability>(state.durability));
}

v1::ReplyHeader ToHeader(const StateName& state, std::string_view instance) {
  v1::ReplyHeader header;
  FillStoredHeader(state, &header);
  header.set_term(state.term.value);
  header.set_instance(instance.data(), instance.size());
  return header;
}

std::string EncodeHeaderPatch(std::string_view instance, Term term) {
  v1::TrainStepResponse patch;
  patch.mutable_header()->set_instance(instance.data(), instance.size());
  patch.mutable_header()->set_term(term.value);
  return patch.SerializeAsString();
}

absl::StatusOr<std::vector<uint8_t>> UnpackBits(const char* field, std::string_view bits, uint32_t rows,
                                                uint8_t if_empty) {
  std::vector<uint8_t> flags(rows, if_empty);
  if (bits.empty()) return flags;
  const size_t expected = (size_t{rows} + 7) / 8;
  if (bits.size() != expected) {
    return BadShape(
        absl::StrCat(field, " has ", bits.size(), " bytes, bits of ", rows, " rows take ", expected));
  }
  for (uint32_t row = 0; row < rows; ++row)
    flags[row] = (static_cast<uint8_t>(bits[row / 8]) >> (row % 8)) & 1;
  if (rows % 8 != 0 && static_cast<uint8_t>(bits.back()) >> (rows % 8) != 0) {
    return BadArgument(field, absl::StrCat(field, " has a bit set beyond its ", rows, " rows"));
  }
  return flags;
}

std::string PackBits(const std::vector<uint8_t>& flags) {
  std::string bits((flags.size() + 7) / 8, '\0');
  for (size_t row = 0; row < flags.size(); ++row) {
    if (flags[row] != 0)
      bits[row / 8] = static_cast<char>(static_cast<uint8_t>(bits[row / 8]) | (1u << (row % 8)));
  }
  return bits;
}

absl::Status BadShape(std::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, message, {.reason = "BAD_SHAPE"});
}

absl::Status TooLarge(const char* field, const std::string& message, uint64_t observed, uint64_t limit) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   absl::StrCat(message, ": ", observed, ", the limit is ", limit),
                   {.reason = "TOO_LARGE",
                    .metadata = {{"field", std::string(field)},
                                 {"observed", absl::StrCat(observed)},
                                 {"limit", absl::StrCat(limit)}}});
}

}  // namespace evoke
