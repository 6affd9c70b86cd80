// What the operating system knows of this process.
#pragma once

namespace evoke {

// Zeros where it cannot be read.
struct ProcessFigures {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double open_fds = 0;
  double max_fds = 0;
  double start_time_seconds = 0;  // Unix time
  double threads = 0;
  double heap_used_bytes = 0;
  double heap_held_bytes = 0;
};

// Reads /proc; costs well under a millisecond.
ProcessFigures ReadProcessFigures();

}  // namespace evoke
