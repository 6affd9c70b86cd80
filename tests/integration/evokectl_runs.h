// evokectl before a built evoked, and small memories for it to work on.
#pragma once

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/integration/server_process.h"

namespace evoke::testing {

// Runs `evokectl -o json ARGUMENTS` against the server.
Finished Evokectl(const ServerProcess& server, std::vector<std::string> arguments);
// The same, which must succeed: what it printed.
nlohmann::json EvokectlJson(const ServerProcess& server, std::vector<std::string> arguments);
// Starts it and does not wait; stderr goes to `err`.
std::unique_ptr<ChildProcess> StartEvokectl(const ServerProcess& server, std::vector<std::string> arguments,
                                            const std::string& err = "");

// Makes a memory, and writes observations number `first` on: distinct values, payloads on every third, the
// content depending on their numbers only.
client::Memory MakeMemory(const ServerProcess& server, const std::string& name, uint32_t key_dim = 4,
                          uint64_t capacity = 1000);
void Train(client::Memory memory, uint64_t first, uint32_t rows);

// "<hash> at <step>", which is all that a memory is; the error where there is none.
std::string StateOf(const ServerProcess& server, const std::string& name);

}  // namespace evoke::testing
