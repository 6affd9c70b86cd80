// Loops that touch registers only: what the instructions of a scan path can do at best.
#pragma once

#include <cstdint>

#include "server/index/scan_kernels.h"

namespace evoke::bench {

// Runs `loops` rounds of the path's multiply-add on registers; returns the floating-point operations done. (Of the bfloat16
// path the bfloat16 instruction, of the VNNI path the 8-bit one.)
double RunRegisterLoop(ScanPath path, uint64_t loops);

// The sum of the words, read as fast as may be.
uint64_t SumOf(const uint64_t* words, uint64_t count);

}  // namespace evoke::bench
