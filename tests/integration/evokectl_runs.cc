#include "tests/integration/evokectl_runs.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace evoke::testing {
namespace {

std::vector<std::string> Argv(const ServerProcess& server, const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {kEvokectl, "-a", server.address(), "-o", "json"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

}  // namespace

Finished Evokectl(const ServerProcess& server, std::vector<std::string> arguments) {
  return RunProgram(Argv(server, arguments));
}

nlohmann::json EvokectlJson(const ServerProcess& server, std::vector<std::string> arguments) {
  const Finished run = Evokectl(server, arguments);
  EXPECT_EQ(run.exit_code, 0) << ::testing::PrintToString(arguments) << ": " << run.err;
  return nlohmann::json::parse(run.out, nullptr, /*allow_exceptions=*/false);
}

std::unique_ptr<ChildProcess> StartEvokectl(const ServerProcess& server, std::vector<std::string> arguments,
                                            const std::string& err) {
  return std::make_unique<ChildProcess>(ChildProcess::Command{.argv = Argv(server, arguments), .err = err});
}

client::Memory MakeMemory(const ServerProcess& server, const std::string& name, uint32_t key_dim,
                          uint64_t capacity) {
  auto made = server.Connect()->CreateMemory(
      name, {.key_dim = key_dim, .capacity = capacity, .durability = client::Durability::kWal});
  EXPECT_TRUE(made.ok()) << made.status();
  return made->memory;
}

void Train(client::Memory memory, uint64_t first, uint32_t rows) {
  constexpr uint32_t kBatch = 512;
  while (rows > 0) {
    const uint32_t batch = std::min(rows, kBatch);
    std::vector<float> x;
    std::vector<int64_t> values;
    std::vector<std::string> texts;
    for (uint64_t i = first; i < first + batch; ++i) {
      uint64_t bits = i * 0x9E3779B97F4A7C15u + 1;  // any mixture that is the same everywhere
      for (uint32_t e = 0; e < memory.key_dim(); ++e) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        x.push_back(static_cast<float>(static_cast<int64_t>(bits >> 44)) - 524288.0f);
      }
      values.push_back(static_cast<int64_t>(i));
      texts.push_back(i % 3 == 0 ? absl::StrCat("example ", i) : "");
    }
    const std::vector<absl::string_view> payloads(texts.begin(), texts.end());
    const auto updated = memory.Update(
        {.embeddings = client::MatrixView::Float32(x, batch), .values = values, .payloads = payloads});
    ASSERT_TRUE(updated.ok()) << updated.status();
    first += batch;
    rows -= batch;
  }
}

std::string StateOf(const ServerProcess& server, const std::string& name) {
  auto memory = server.Connect()->OpenMemory(name);
  if (!memory.ok()) return memory.status().ToString();
  const auto hash = memory->StateHash();
  return hash.ok() ? absl::StrCat(hash->state_hash, " at ", hash->header.step) : hash.status().ToString();
}

}  // namespace evoke::testing
