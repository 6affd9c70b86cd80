// The one table of options. A key of it is a flag (--data-dir), a variable (EVOKE_DATA_DIR) and a key of the
// file.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/config/config.h"

namespace evoke {

struct Option {
  const char* key;
  const char* value;  // placeholder in the help; empty: a switch, which as a flag may stand without a value
  const char* fallback;  // the default, as text; nullptr: required
  const char* help;
  bool many = false;  // may be given several times or as a comma list
  // Sets the field, or returns what it expects instead.
  std::function<std::string(const std::string& text, Config* config)> set;
  bool reloads = false;  // SIGHUP brings a changed value into effect; all others need a restart
};

const std::vector<Option>& OptionTable();

// EVOKE_DATA_DIR of data-dir.
std::string VariableOf(const std::string& key);

}  // namespace evoke
