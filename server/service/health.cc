#include "server/service/health.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <mutex>

#include "evoke/v1/admin_service.grpc.pb.h"
#include "evoke/v1/memory_service.grpc.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "server/base/check.h"

namespace evoke {

void EnableHealthAndReflection() {
  static std::once_flag once;
  std::call_once(once, [] {
    // gRPC's health service brings no descriptors. Naming this one keeps the linker from dropping ours,
    // without which reflection would list a service that it cannot resolve.
    EVOKE_CHECK(grpc::health::v1::HealthCheckRequest::descriptor() != nullptr);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetHealth(grpc::Server* server, ServingState state) {
  grpc::HealthCheckServiceInterface* health = server->GetHealthCheckService();
  EVOKE_CHECK(health != nullptr);
  const bool serving = !state.loading && !state.draining;
  health->SetServingStatus("", serving);
  health->SetServingStatus(v1::MemoryService::service_full_name(), serving);
  health->SetServingStatus(v1::AdminService::service_full_name(), !state.draining);
}

}  // namespace evoke
