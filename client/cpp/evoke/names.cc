#include "evoke/names.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"
#include "grpc/health/v1/health.pb.h"

namespace evoke::client {
namespace {

// The protos are the only list of names.
std::string NameIn(const google::protobuf::EnumDescriptor* descriptor, absl::string_view prefix, int number) {
  const google::protobuf::EnumValueDescriptor* value = descriptor->FindValueByNumber(number);
  if (value == nullptr) return absl::StrCat(number);
  return std::string(absl::StripPrefix(value->name(), prefix));
}

}  // namespace

std::string Name(WriteRule rule) {
  return NameIn(v1::WriteRule_descriptor(), "WRITE_RULE_", static_cast<int>(rule));
}
std::string Name(BatchMode mode) {
  return NameIn(v1::BatchMode_descriptor(), "BATCH_MODE_", static_cast<int>(mode));
}
std::string Name(Durability durability) {
  return NameIn(v1::Durability_descriptor(), "DURABILITY_", static_cast<int>(durability));
}
std::string Name(MemoryState state) {
  return NameIn(v1::MemoryState_descriptor(), "MEMORY_STATE_", static_cast<int>(state));
}
std::string Name(ServerState state) {
  return NameIn(v1::ServerState_descriptor(), "SERVER_STATE_", static_cast<int>(state));
}
std::string Name(ServingStatus status) {
  return NameIn(grpc::health::v1::HealthCheckResponse::ServingStatus_descriptor(), "",
                static_cast<int>(status));
}
std::string Name(Outcome outcome) {
  return NameIn(v1::Outcome_descriptor(), "OUTCOME_", static_cast<int>(outcome));
}

}  // namespace evoke::client
