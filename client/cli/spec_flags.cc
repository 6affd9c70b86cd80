#include "client/cli/spec_flags.h"

#include <map>
#include <string>

namespace evoke::cli {
namespace {

using client::BatchMode;
using client::Durability;
using client::WriteRule;

// CLI11 would print the enumerators' numbers too; the help text names the choices itself.
template <typename Enum>
CLI::Option* AddEnum(CLI::App* command, const std::string& flag, Enum* target,
                     const std::map<std::string, Enum>& names, const std::string& help) {
  return command->add_option(flag, *target, help)
      ->transform(CLI::CheckedTransformer(names, CLI::ignore_case).description(""))
      ->type_name("NAME");
}

}  // namespace

void AddSpecFlags(CLI::App* command, client::MemorySpec* spec) {
  command->add_option("--key-dim", spec->key_dim, "floats of a key, 1 to 4096")->required();
  command->add_option("--capacity", spec->capacity, "slots, 1 to 2147483647")->required();
  command->add_option("--seed", spec->seed,
                      "of the random choice among the oldest slots, 64 bits; default 0");
  AddEnum(command, "--write-rule", &spec->write_rule, {{"rare_events", WriteRule::kRareEvents}},
          "how an observation changes the memory: rare_events; default rare_events");
  command->add_option("--choose-k", spec->choose_k,
                      "neighbors that a decision looks at, 1 to 1024; default 256");
  command->add_option("--margin", spec->margin, "alpha of the loss, finite, >= 0; default 0.1");
  command->add_option("--inverse-temperature", spec->inverse_temperature,
                      "t of the softmax, finite, > 0; default 40");
  command->add_option("--age-noise", spec->age_noise,
                      "width of the random choice in observations, 0 (strictly oldest) to 65536 and at most "
                      "capacity / 4; default the smaller of capacity / 64 and 4096");
  AddEnum(command, "--batch", &spec->batch,
          {{"atomic", BatchMode::kAtomic}, {"sequential", BatchMode::kSequential}},
          "what a request of several rows means: atomic (a mini-batch) or sequential; default atomic");
  command->add_option("--merge-on-miss", spec->merge_on_miss,
                      "similarity, -1 to 1, from which a miss reinforces the first neighbor of its value; "
                      "default off (0 is a threshold)");
  command->add_option(
      "--fold-misses", spec->fold_misses,
      "similarity, -1 to 1, from which a miss reinforces a slot that its atomic batch has just "
      "taken for its value; default off (0 is a threshold)");
  command->add_option("--payload-history", spec->payload_history,
                      "payloads kept a slot, the first and the latest, 0 to 16; default 4");
  command->add_option("--partitions", spec->partitions,
                      "a power of two, 1 to 65536, fixed for ever; default 64");
  AddEnum(command, "--durability", &spec->durability,
          {{"fsync", Durability::kFsync}, {"wal", Durability::kWal}, {"memory", Durability::kMemory}},
          "fsync (survives power loss), wal (survives a crash of the process) or memory (lives in RAM only); "
          "default fsync");
}

}  // namespace evoke::cli
