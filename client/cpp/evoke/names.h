// Enumerators as text, in the protos' spelling without their prefix: "ATOMIC", "READ_ONLY".
#pragma once

#include <string>

#include "evoke/requests.h"
#include "evoke/types.h"

namespace evoke::client {

// What has no name here, sent by a newer server, is its number.
std::string Name(WriteRule rule);
std::string Name(BatchMode mode);
std::string Name(Durability durability);
std::string Name(MemoryState state);
std::string Name(ServerState state);
std::string Name(ServingStatus status);
std::string Name(Outcome outcome);

}  // namespace evoke::client
