// Where a run took place, as far as its figures depend on it.
#pragma once

#include <string>

namespace evoke::load {

struct Machine {
  std::string cpu;     // model, as the kernel names it
  int cores = 0;       // that this process may use
  std::string system;  // kernel and release
};

// Of this process. What cannot be found out stays empty.
Machine ThisMachine();

}  // namespace evoke::load
