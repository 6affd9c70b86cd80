#include "tests/bench/register_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace evoke::bench {
namespace {

constexpr int kChains = 12;  // what the latency of a multiply-add wants

#if defined(__x86_64__)

#define EVOKE_TWELVE(each) \
  each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) each(11)
// Twelve independent accumulators, variables of their own: an array may end up in memory. The empty asm in each step keeps
// the compiler from folding the rounds.
#define EVOKE_REGISTER_LOOP \
  EVOKE_TWELVE(EVOKE_BEGIN) \
  for (uint64_t i = 0; i < loops; ++i) { EVOKE_TWELVE(EVOKE_STEP) }

[[gnu::target("avx2,fma")]] double Avx2(uint64_t loops) {
  const auto one = _mm256_set1_ps(1);
#define EVOKE_BEGIN(c) auto acc##c = one;
#define EVOKE_STEP(c) acc##c = _mm256_fmadd_ps(one, one, acc##c); asm volatile("" : "+v"(acc##c));
  EVOKE_REGISTER_LOOP
#undef EVOKE_STEP
#undef EVOKE_BEGIN
  return static_cast<double>(loops) * kChains * 16;
}

[[gnu::target("avx512f")]] double Avx512(uint64_t loops) {
  const auto one = _mm512_set1_ps(1);
#define EVOKE_BEGIN(c) auto acc##c = one;
#define EVOKE_STEP(c) acc##c = _mm512_fmadd_ps(one, one, acc##c); asm volatile("" : "+v"(acc##c));
  EVOKE_REGISTER_LOOP
#undef EVOKE_STEP
#undef EVOKE_BEGIN
  return static_cast<double>(loops) * kChains * 32;
}

[[gnu::target("avx512f,avx512vnni")]] double Vnni(uint64_t loops) {
  const auto one = _mm512_set1_epi32(0x01010101);
#define EVOKE_BEGIN(c) auto acc##c = one;
#define EVOKE_STEP(c) acc##c = _mm512_dpbusd_epi32(acc##c, one, one); asm volatile("" : "+v"(acc##c));
  EVOKE_REGISTER_LOOP
#undef EVOKE_STEP
#undef EVOKE_BEGIN
  return static_cast<double>(loops) * kChains * 128;
}

[[gnu::target("avx512f,avx512bf16")]] double Bf16(uint64_t loops) {
  const auto one = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
#define EVOKE_BEGIN(c) auto acc##c = _mm512_setzero_ps();
#define EVOKE_STEP(c) acc##c = _mm512_dpbf16_ps(acc##c, one, one); asm volatile("" : "+v"(acc##c));
  EVOKE_REGISTER_LOOP
#undef EVOKE_STEP
#undef EVOKE_BEGIN
  return static_cast<double>(loops) * kChains * 64;
}

[[gnu::target("avx512f,amx-tile,amx-bf16")]] double Amx(uint64_t loops) {
  alignas(64) uint8_t config[64] = {1};
  for (int t = 0; t < 8; ++t) {
    config[16 + 2 * t] = 64;  // bytes a row
    config[48 + t] = 16;      // rows
  }
  _tile_loadconfig(config);
  for (uint64_t i = 0; i < loops / 16; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return static_cast<double>(loops / 16) * 4 * 16 * 16 * 32 * 2;
}

#endif

double Portable(uint64_t loops) {
  float acc[4] = {1, 1, 1, 1};
  for (uint64_t i = 0; i < loops; ++i) {
    for (float& a : acc) {
      a = a * 0.5f + 1.0f;
      asm volatile("" : "+r"(a));
    }
  }
  return static_cast<double>(loops) * 8;
}

}  // namespace

double RunRegisterLoop(ScanPath path, uint64_t loops) {
#if defined(__x86_64__)
  switch (path) {
    case ScanPath::kAvx2:
      return Avx2(loops);
    case ScanPath::kAvx512:
      return Avx512(loops);
    case ScanPath::kAvx512Vnni:
      return Vnni(loops);
    case ScanPath::kAvx512Bf16:
      return Bf16(loops);
    case ScanPath::kAmxBf16:
      return Amx(loops);
    case ScanPath::kPortable:
      break;
  }
#endif
  return Portable(loops);
}

uint64_t SumOf(const uint64_t* words, uint64_t count) {
  uint64_t sum[8] = {};
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int l = 0; l < 8; ++l) sum[l] += words[i + l];
    __builtin_prefetch(words + i + 512, 0, 2);
  }
  for (; i < count; ++i) sum[0] += words[i];
  uint64_t total = 0;
  for (const uint64_t s : sum) total += s;
  asm volatile("" : "+r"(total));
  return total;
}

}  // namespace evoke::bench
