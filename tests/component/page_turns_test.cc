// The explorer before memories that are late, or that change between two questions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "server/engine/await.h"
#include "server/page/web_page.h"
#include "tests/component/fake_catalog.h"
#include "tests/testing/manual_clock.h"

namespace evoke {
namespace {

using ::testing::HasSubstr;

class PageTurnsTest : public ::testing::Test {
 protected:
  PageTurnsTest() {
    MemorySpec spec;
    spec.key_dim = 2;
    spec.capacity = 10;
    faces_ = catalog_.Add("faces", spec);
    shared_.catalog = &catalog_;
    shared_.limits.Set(RequestLimits());
    shared_.instance = "0123456789abcdef";
  }
  static HttpRequest Asking(const std::string& path, std::vector<std::pair<std::string, std::string>> parameters = {}) {
    return {.method = "GET", .path = path, .parameters = std::move(parameters), .headers = {{"host", "localhost"}},
            .peer = "127.0.0.1"};
  }

  FakeCatalog catalog_;
  std::shared_ptr<FakeExecutor> faces_;
  testing::ManualClock clock_;
  RecentActivity recent_{&clock_, nullptr};
  ServiceContext shared_;
  WebPage page_{{.shared = &shared_, .recent = &recent_, .clock = &clock_}};
};

SlotAnswer Held(uint64_t slot, uint64_t written_step) {
  return {.content = {.state = {.slot = slot, .value = 5, .written_step = written_step}, .key = {1, 0}},
          .payloads = {{.step = Step(written_step), .bytes = "of then"}}};
}

TEST_F(PageTurnsTest, APayloadThatIsNotTheNeighborsOwnIsNotShownAsIfItWere) {
  faces_->on_submit = [&](Task task) {
    if (auto* query = std::get_if<QueryCall>(&task.call)) {
      query->done(QueryReply{.state = faces_->state(), .rows = 1, .answered = {1}, .values = {5}, .confidences = {.5f},
                             .neighbor_count = 2,
                             .neighbors = {{.slot = 3, .similarity = 1, .value = 5, .written_step = 2},
                                           {.slot = 4, .similarity = .5f, .value = 5, .written_step = 3}},
                             .weights = {.75f, .25f}});
    } else {
      // Slot 3 was written again since.
      std::get<SlotsCall>(task.call).done(SlotsReply{.state = faces_->state(), .slots = {Held(3, 4), Held(4, 3)}});
    }
  };
  HttpRequest request = Asking("/api/v1/memories/faces/query");
  request.method = "POST";
  request.body = R"({"embedding": [1, 0]})";
  const Json json = Json::parse(page_.Answer(request).body);
  EXPECT_EQ(json["neighbors"][0]["payloads_known"], false);
  EXPECT_EQ(json["neighbors"][0]["payloads"].size(), 0u);
  EXPECT_EQ(json["neighbors"][1]["payloads_known"], true);
  EXPECT_EQ(json["neighbors"][1]["payloads"][0]["data"], "of then");
}

TEST_F(PageTurnsTest, WhatWaitsForAMemoryEndsAndLeavesRoomForOtherPages) {
  Mutex mu;
  CondVar come;
  std::vector<Task> held;
  faces_->on_submit = [&](Task task) {
    MutexLock lock(&mu);
    held.push_back(std::move(task));
    come.SignalAll();
  };
  std::vector<std::thread> askers;
  std::atomic<int> failed{0};
  for (size_t i = 0; i < WebPage::kExploringAtOnce; ++i) {
    askers.emplace_back([&] { failed += page_.Answer(Asking("/api/v1/memories/faces/slots", {{"slot", "1"}})).status == 503; });
    MutexLock lock(&mu);
    while (held.size() <= i) come.Wait(&mu);
    EXPECT_LT(held.back().deadline, absl::InfiniteFuture());
  }
  const HttpResponse refused = page_.Answer(Asking("/api/v1/memories/faces/slots", {{"slot", "1"}}));
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.body, HasSubstr("TOO_MANY_PAGES"));
  EXPECT_EQ(page_.Answer(Asking("/api/v1/memories/faces")).status, 200);
  EXPECT_EQ(page_.Answer(Asking("/api/v1/status")).status, 200);
  EXPECT_EQ(page_.Answer(Asking("/statusz")).status, 200);
  for (Task& task : held) task.Fail(MakeError(absl::StatusCode::kUnavailable, "not yet", {.reason = "LOADING"}));
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(failed.load(), WebPage::kExploringAtOnce);
  faces_->on_submit = [](Task task) { task.Fail(absl::UnavailableError("")); };
  EXPECT_EQ(page_.Answer(Asking("/api/v1/memories/faces/slots", {{"slot", "1"}})).status, 503) << "there is room again";
}

TEST_F(PageTurnsTest, AReadIsGivenUpAndItsLateAnswerIsDropped) {
  std::vector<Task> held;
  faces_->on_submit = [&](Task task) { held.push_back(std::move(task)); };
  const auto answer = Await<InspectReply>(*faces_, InspectCall(), Task(), absl::Milliseconds(1));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_EQ(held.size(), 1u);
  held[0].Reply(InspectReply());
}

}  // namespace
}  // namespace evoke
