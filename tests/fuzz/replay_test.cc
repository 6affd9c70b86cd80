// A fuzz target without libFuzzer: its inputs, and some thousand mutations of them that are the same everywhere.
//
// The binary is named after its target, "turn_record_fuzz_test", and so is the folder of its inputs.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/mutate.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace evoke::fuzz {
namespace {

constexpr int kMutations = 3000;  // of all inputs together: well under a second in a release build
constexpr size_t kMaxBytes = 4096;

std::string TargetName() {
  const std::string_view binary = program_invocation_short_name;
  return std::string(binary.substr(0, binary.rfind("_fuzz_test")));
}

// What a death leaves behind: the input that it is about.
std::string last_input;

void Save() {
  const std::string file = TargetName() + ".crash";
  std::ofstream(file, std::ios::binary) << last_input;
  std::fprintf(stderr, "the input of %zu bytes is in %s\n", last_input.size(), file.c_str());
}

void SaveAndAbort(int signal) {
  std::signal(signal, SIG_DFL);
  Save();
  std::raise(signal);
}

void Watch() {
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(Save);
  for (const int signal : {SIGABRT, SIGFPE}) std::signal(signal, SaveAndAbort);
}

void RunOne(std::string input) {
  last_input = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(last_input.data()), last_input.size());
}

// By name: the order of a directory is not the same everywhere.
std::map<std::string, std::string> Inputs() {
  std::map<std::string, std::string> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(EVOKE_FUZZ_CORPORA "/" + TargetName())) {
    std::ifstream in(entry.path(), std::ios::binary);
    inputs[entry.path().filename()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return inputs;
}

TEST(FuzzTest, HoldsForEveryInputOfTheCorpus) {
  Watch();
  const auto inputs = Inputs();
  ASSERT_FALSE(inputs.empty());
  RunOne("");
  for (const auto& [name, bytes] : inputs) RunOne(bytes);
}

TEST(FuzzTest, HoldsForSeededMutationsOfTheCorpus) {
  Watch();
  const char* given = std::getenv("EVOKE_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
  std::printf("EVOKE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const auto inputs = Inputs();
  ASSERT_FALSE(inputs.empty());
  for (int i = 0; i < kMutations; ++i) {
    const auto input = std::next(inputs.begin(), static_cast<ptrdiff_t>(random() % inputs.size()));
    RunOne(Mutate(input->second, kMaxBytes, &random));
  }
}

}  // namespace
}  // namespace evoke::fuzz
