// Where log lines go and what they look like; called once, at start.
#pragma once

#include <string>

namespace evoke {

// Lines on stderr, as text or as one JSON object each ("time", "level", "message"). Later spdlog calls follow
// it. Requires: a level and format that config.h knows.
void StartLogging(const std::string& level, const std::string& format);

}  // namespace evoke
