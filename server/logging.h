// Where log lines go and what they look like.
#pragma once

#include <string>

namespace evoke {

// Lines on stderr, as text or as one JSON object each ("time", "level", "message"). Later spdlog calls follow
// it. Called once, at start. Requires: a level and format that config.h knows.
void StartLogging(const std::string& level, const std::string& format);

// From now on. Requires: as above.
void SetLogLevel(const std::string& level);

}  // namespace evoke
