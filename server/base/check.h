// EVOKE_CHECK(condition): programmer errors only. Prints file, line and condition, then aborts, in every build.
#pragma once

#include <cstdio>
#include <cstdlib>

#define EVOKE_CHECK(condition)                                                                  \
  do {                                                                                          \
    if (!(condition)) [[unlikely]] {                                                            \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition);        \
      std::abort();                                                                             \
    }                                                                                           \
  } while (false)
