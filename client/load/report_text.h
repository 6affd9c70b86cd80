// A report for people.
#pragma once

#include <string>

#include "client/load/report.h"

namespace evoke::load {

// Says what the JSON says, but for windows and options. Ends with a newline.
std::string ReportText(const Json& report);

}  // namespace evoke::load
