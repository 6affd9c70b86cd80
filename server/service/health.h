// grpc.health.v1.Health and reflection: what a load balancer and a curious client ask first.
#pragma once

#include <grpcpp/server.h>

namespace evoke {

// Turns on gRPC's health service and reflection of all services, health included, for every server that is
// built afterwards in this process. Idempotent.
void EnableHealthAndReflection();

// The state that health is derived from.
struct ServingState {
  bool loading = false;   // some memory is being recovered
  bool draining = false;  // the server is stopping
};

// "" and evoke.v1.MemoryService serve when no memory loads; evoke.v1.AdminService serves while memories load;
// nothing serves while the server drains. A memory that is read-only or failed stops nothing: the others go
// on. Requires: EnableHealthAndReflection before `server` was built. Thread-safe.
void SetHealth(grpc::Server* server, ServingState state);

}  // namespace evoke
