// The example of client/cpp/README.md, "Overlap", cut out of it by CMake: it compiles and does what it says.
#include "evoke/client.h"
#include "evoke/testing/fake_server.h"
#include "evoke/train_pipeline.h"
#include "gtest/gtest.h"

namespace evoke::client {
namespace {

TEST(ReadmeExampleTest, TheOverlapExampleTrainsAHundredStepsAndOneUpdate) {
  FakeServer server;
  server.AddMemory("faces", 3);
  const auto client = *Client::Connect({.addresses = {server.address()}});
  Memory memory = *client->OpenMemory("faces");
  std::vector<float> x = {1, 2, 2};
  std::vector<int64_t> label = {42};
  {
#include "readme_overlap.inc"
    EXPECT_EQ(value, 0);     // the fake server's
    EXPECT_EQ(gradient, 0);  // too
    EXPECT_TRUE(drained.ok()) << drained;
    EXPECT_EQ(steps.size(), 100u);
  }
  server.AwaitCalls("Update", 1);
  EXPECT_EQ(server.calls("TrainStream").size(), 100u);
}

}  // namespace
}  // namespace evoke::client
