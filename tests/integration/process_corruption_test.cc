// A flipped bit on the disk of a real server: found, named, and the business of one memory alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/integration/fault_trainer.h"
#include "tests/integration/faulty_server.h"

namespace evoke::testing {
namespace {

using ::testing::HasSubstr;

void FlipBit(const std::string& path, uint64_t byte) {
  std::string content = ReadWholeFile(path);
  content[byte] ^= 0x10;
  WriteWholeFile(path, content);
}

std::vector<std::string> TableFiles(const ServerProcess& server) {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::recursive_directory_iterator(server.data_dir())) {
    if (file.path().extension() == ".sst") files.push_back(file.path().string());
  }
  return files;
}

TEST(ProcessCorruptionTest, ABitFlippedInATableFileIsFoundAtTheStartAndOtherMemoriesGoOn) {
  FaultyServer server;
  server.Start();
  FaultTrainer damaged(server, "damaged", v1::DURABILITY_FSYNC);
  for (int i = 0; i < 30; ++i) damaged.StepUntilOk();
  EXPECT_EQ(server.Stop(), 0);
  server.Start();  // replays the log into a table file
  const std::vector<std::string> tables = TableFiles(server);
  ASSERT_FALSE(tables.empty());
  FaultTrainer whole(server, "whole", v1::DURABILITY_FSYNC, 2);
  for (int i = 0; i < 5; ++i) whole.StepUntilOk();
  EXPECT_EQ(server.Stop(), 0);

  for (const std::string& table : tables) FlipBit(table, 100);  // in the first block: what is opened with, and slots
  server.Start();
  EXPECT_EQ(damaged.Step(), "DATA_LOSS/CORRUPT_MEMORY");
  EXPECT_THAT(damaged.last_message(), HasSubstr(".sst"));
  EXPECT_EQ(damaged.Query(), "DATA_LOSS/CORRUPT_MEMORY");
  EXPECT_THAT(server.Metric("evoke_alarm_active{alarm=\"corrupt\""),
              HasSubstr("{alarm=\"corrupt\",memory=\"damaged\"} 1\n"));
  EXPECT_THAT(server.Metric("evoke_alarm_active{alarm=\"corrupt\""),
              HasSubstr("{alarm=\"corrupt\",memory=\"whole\"} 0\n"));
  whole.StepUntilOk();
  EXPECT_EQ(server.Stop(), 0);

  const Finished check = RunProgram({kEvokeInspect, "--data-dir", server.data_dir(), "check", "damaged"});
  EXPECT_NE(check.exit_code, 0);
  EXPECT_THAT(check.err, HasSubstr(".sst"));
  EXPECT_EQ(RunProgram({kEvokeInspect, "--data-dir", server.data_dir(), "check", "whole"}).exit_code, 0);

  for (const std::string& table : tables) FlipBit(table, 100);  // repaired, as a restored copy would be
  server.Start();
  damaged.ExpectStateOfSomeTurnFrom(30);
  damaged.StepUntilOk();
}

}  // namespace
}  // namespace evoke::testing
