// The flags of `evokectl memory create` and `evokectl plan`: one for every field of a spec.
#pragma once

#include "CLI/CLI.hpp"
#include "evoke/types.h"

namespace evoke::cli {

// Adds the flags to `command`; parsing fills `spec`, which must outlive it. What is not given stays absent
// and gets the server's default. Bounds are only told, not checked: the server is their one source.
void AddSpecFlags(CLI::App* command, client::MemorySpec* spec);

}  // namespace evoke::cli
