// Snapshots, restores, forks and imports of real stores in a real data directory, without gRPC.
#include "server/engine/snapshots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/base/errors.h"
#include "server/engine/await.h"
#include "server/engine/memory_content.h"
#include "server/similarity/similarity.h"
#include "tests/testing/manual_clock.h"

namespace evoke::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "OK";
  const auto detail = DetailOf(status);
  return detail ? detail->reason : std::string(status.message());
}

class SnapshotsTest : public ::testing::Test {
 protected:
  SnapshotsTest() {
    static int count = 0;
    path_ = ::testing::TempDir() + "/snapshots-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    fs::create_directories(path_ + "/backup");
    Open();
    memory = *Create("faces", SpecDurability::kWal);
  }
  ~SnapshotsTest() override {
    Close();
    fs::remove_all(path_);
  }

  void Open() {
    dir_ = *DataDir::Open(path_ + "/data");
    const auto rocksdb = RocksDbResources::Create({});
    catalog = *Catalog::Open({.data_dir = dir_.get(),
                              .compute = &compute_,
                              .io = &io_,
                              .clock = &clock,
                              .cores = 2,
                              .engine = {.shards = 3},
                              .rocksdb = rocksdb});
    snapshots = std::make_unique<Snapshots>(Snapshots::Options{.data_dir = dir_.get(),
                                                               .catalog = catalog.get(),
                                                               .clock = &clock,
                                                               .backup_dir = path_ + "/backup",
                                                               .keep_scheduled = 2,
                                                               .rocksdb = rocksdb});
  }
  void Close() {
    memory.reset();
    if (catalog == nullptr) return;
    EXPECT_EQ(catalog->Close(absl::InfiniteFuture()), absl::OkStatus());
    catalog.reset();
    dir_.reset();
  }
  void Restart() {
    Close();
    Open();
    while (catalog->loading()) std::this_thread::yield();
    memory = *catalog->Find("faces", {});
  }

  absl::StatusOr<std::shared_ptr<Executor>> Create(const std::string& name, SpecDurability durability,
                                                   uint64_t capacity = 64) {
    MemorySpec spec{.key_dim = 8,
                    .capacity = capacity,
                    .seed = 3,
                    .choose_k = 8,
                    .payload_history = 3,
                    .partitions = 8,
                    .durability = durability};
    auto created = catalog->Create(name, spec, {}, false);
    if (!created.ok()) return created.status();
    return created->executor;
  }

  // A batch of a few seeded rows, each with a payload.
  std::string Train(Executor& to, uint64_t seed, MutationId id = {}) {
    ObserveCall call;
    const uint32_t rows = 1 + seed % 5, dim = to.spec().key_dim;
    call.rows.dim = dim;
    for (uint32_t r = 0; r < rows; ++r) {
      std::vector<float> x(dim);
      for (uint32_t e = 0; e < dim; ++e)
        x[e] = static_cast<float>((seed * 7 + r * 13 + e * 5 + e * e * (seed % 3 + 1)) % 23) - 11;
      const float norm = Norm(x.data(), static_cast<int>(dim));
      for (float v : x) call.rows.unit.push_back(v / norm);
      call.rows.norms.push_back(norm);
      call.rows.skip.push_back(0);
      call.values.push_back(static_cast<int64_t>((seed + r) % 7));
      call.write.push_back(1);
      call.payloads.push_back(r % 2 ? "" : "seed " + std::to_string(seed) + " row " + std::to_string(r));
    }
    if (id.number == 0)
      id = {.session = SessionId::FromView(absl::StrCat("session ", 10000000 + ++sessions_)),
            .number = 1,
            .opened_after = Inspect(to).state.turn.value};
    call.mutation = id;
    call.encode = [](const ObserveReply& r) { return absl::StrCat("step ", r.state.step.value); };
    const auto reply = Await<std::string>(to, std::move(call));
    return reply.ok() ? *reply : ReasonOf(reply.status());
  }
  void TrainMany(Executor& to, uint64_t from, uint64_t count) {
    for (uint64_t seed = from; seed < from + count; ++seed) ASSERT_THAT(Train(to, seed), HasSubstr("step"));
  }

  static InspectReply Inspect(Executor& of) {
    auto answer = Await<InspectReply>(of, InspectCall{});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : InspectReply{};
  }
  static StateToken TokenNow(Executor& of) {
    const InspectReply now = Inspect(of);
    return {now.state.uid, now.state.epoch, now.state.turn, now.state.step, now.state_hash};
  }
  static std::vector<ImportRow> Content(Executor& of) {
    auto content = MemoryContent::Open(of, {});
    EXPECT_TRUE(content.ok()) << content.status();
    return *(*content)->Next((*content)->rows());
  }
  static void ExpectEqualContent(Executor& a, Executor& b) {
    EXPECT_EQ(Inspect(a).state_hash, Inspect(b).state_hash);
    EXPECT_EQ(Inspect(a).state.step, Inspect(b).state.step);
    EXPECT_EQ(Inspect(a).distinct_values, Inspect(b).distinct_values);
    const auto rows = Content(a), others = Content(b);
    ASSERT_EQ(rows.size(), others.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].slot, others[i].slot);
      EXPECT_EQ(rows[i].payloads, others[i].payloads) << "slot " << rows[i].slot;
    }
  }
  std::string FolderOf(const SnapshotManifest& m) const { return dir_->SnapshotsPath(m.uid) + "/" + m.id; }
  static void FlipABit(const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto at = static_cast<std::streamoff>(file.tellg()) / 3;
    file.seekg(at);
    const char byte = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 4));
  }
  static std::string TableOf(const std::string& store) {
    for (const auto& entry : fs::directory_iterator(store)) {
      if (entry.path().extension() == ".sst") return entry.path();
    }
    ADD_FAILURE() << "no table in " << store;
    return "";
  }

  ManualClock clock;
  ThreadPool compute_{"compute", 2};
  ThreadPool io_{"io", 2};
  std::string path_;
  std::unique_ptr<DataDir> dir_;
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<Snapshots> snapshots;
  std::shared_ptr<Executor> memory;
  uint64_t sessions_ = 0;
};

TEST_F(SnapshotsTest, RestoreInPlaceLeadsBackAndTurnsGoOnCounting) {
  TrainMany(*memory, 1, 30);
  const StateToken then = TokenNow(*memory);
  const auto rows = Content(*memory);
  const auto made = snapshots->Create({memory}, false, nullptr);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(TokenOf(*made), then);
  TrainMany(*memory, 31, 20);
  const StateToken ahead = TokenNow(*memory);
  ASSERT_NE(ahead.state_hash, then.state_hash);

  const auto restored = snapshots->Restore({memory}, {.token = then}, nullptr);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_TRUE(restored->changed);
  const InspectReply now = Inspect(*memory);
  EXPECT_EQ(now.state_hash, then.state_hash);
  EXPECT_EQ(now.state.step, then.step);
  EXPECT_EQ(now.state.turn, ahead.turn.Next());
  EXPECT_EQ(now.state.epoch, ahead.epoch.Next());
  EXPECT_EQ(now.sessions, 0);
  const auto after = Content(*memory);
  ASSERT_EQ(after.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(after[i].payloads, rows[i].payloads);

  // What follows is what followed then, for it depends on the content and the step alone.
  TrainMany(*memory, 31, 20);
  EXPECT_EQ(TokenNow(*memory).state_hash, ahead.state_hash);
  Restart();
  EXPECT_EQ(TokenNow(*memory).state_hash, ahead.state_hash);
}

TEST_F(SnapshotsTest, RestoringTheStateThatIsThereChangesNothing) {
  TrainMany(*memory, 1, 5);
  const StateToken then = TokenNow(*memory);
  ASSERT_TRUE(snapshots->Create({memory}, false, nullptr).ok());
  const auto restored = snapshots->Restore({memory}, {.token = then}, nullptr);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_FALSE(restored->changed);
  EXPECT_EQ(TokenNow(*memory), then);
}

TEST_F(SnapshotsTest, ATokenOfAnotherStateOrMemoryIsRefusedAndNothingIsLost) {
  TrainMany(*memory, 1, 5);
  const auto made = *snapshots->Create({memory}, false, nullptr);
  TrainMany(*memory, 6, 5);
  const StateToken now = TokenNow(*memory);
  StateToken token = TokenOf(made);
  token.state_hash.low ^= 1;
  EXPECT_EQ(ReasonOf(snapshots->Restore({memory}, {.id = made.id, .token = token}, nullptr).status()),
            "TOKEN_MISMATCH");
  EXPECT_EQ(ReasonOf(snapshots->Restore({memory}, {.token = token}, nullptr).status()), "SNAPSHOT_NOT_FOUND");
  token = TokenOf(made);
  token.uid.bytes[0] ^= 1;
  EXPECT_EQ(ReasonOf(snapshots->Restore({memory}, {.token = token}, nullptr).status()), "TOKEN_MISMATCH");
  EXPECT_EQ(ReasonOf(snapshots->Restore({memory}, {.id = "../../catalog"}, nullptr).status()),
            "SNAPSHOT_NOT_FOUND");
  EXPECT_EQ(TokenNow(*memory), now);
}

TEST_F(SnapshotsTest, AMutationOfBeforeTheRestoreIsNotAppliedAgain) {
  const MutationId first{.session = SessionId::FromView("0123456789abcdef"),
                         .number = 1,
                         .opened_after = 0,
                         .digest = {.low = 1}};
  ASSERT_EQ(Train(*memory, 1, first), "step 2");
  const auto made = *snapshots->Create({memory}, false, nullptr);
  TrainMany(*memory, 2, 2);
  ASSERT_TRUE(snapshots->Restore({memory}, {.id = made.id}, nullptr).ok());
  EXPECT_EQ(Train(*memory, 1, first), "SESSION_UNKNOWN");
  EXPECT_EQ(TokenNow(*memory).step, Step(2));
}

TEST_F(SnapshotsTest, ABackupDirThatIsNotMountedIsNamedAndNotMade) {
  const auto made = *snapshots->Create({memory}, false, nullptr);
  fs::remove_all(path_ + "/backup");
  const absl::Status copied = snapshots->Copy({memory}, made.id, "weekly", nullptr).status();
  EXPECT_EQ(ReasonOf(copied), "BAD_ARGUMENT");
  EXPECT_THAT(std::string(copied.message()), HasSubstr(path_ + "/backup"));
  EXPECT_EQ(ReasonOf(snapshots->List({.backup_folder = ""}).status()), "BAD_ARGUMENT");
  EXPECT_FALSE(fs::exists(path_ + "/backup"));
}

TEST_F(SnapshotsTest, ABackupIsRestoredAsANewMemoryAfterTheMemoryIsGone) {
  TrainMany(*memory, 1, 30);
  const StateToken then = TokenNow(*memory);
  const auto made = *snapshots->Create({memory}, false, nullptr);
  ASSERT_TRUE(snapshots->Copy({memory}, made.id, "weekly", nullptr).ok());
  memory.reset();
  ASSERT_TRUE(catalog->Delete("faces", {}).ok());

  const Snapshots::Place backup{.backup_folder = "weekly"};
  ASSERT_THAT(*snapshots->List(backup), SizeIs(1));
  EXPECT_TRUE(snapshots->Verify(backup, made.id, nullptr).ok());
  const auto restored = snapshots->RestoreAs(backup, {.token = then}, "faces", {}, nullptr);
  ASSERT_TRUE(restored.ok()) << restored.status();
  const StateToken now = TokenNow(*restored->memory);
  EXPECT_EQ(now.state_hash, then.state_hash);
  EXPECT_EQ(now.step, then.step);
  EXPECT_NE(now.uid, then.uid);
  EXPECT_EQ(now.turn, Turn(1));
  EXPECT_EQ(now.epoch, Epoch(1));
  Restart();
  EXPECT_EQ(TokenNow(*memory), now);
}

TEST_F(SnapshotsTest, AFolderOutsideTheBackupDirectoryIsRefused) {
  const auto made = *snapshots->Create({memory}, false, nullptr);
  for (const char* folder : {"..", "../data", "a/../../x", "/etc", "a//b"}) {
    EXPECT_EQ(ReasonOf(snapshots->Copy({memory}, made.id, folder, nullptr).status()), "BAD_ARGUMENT")
        << folder;
  }
}

TEST_F(SnapshotsTest, AFlippedBitIsFoundByVerifyAndNeverRestored) {
  TrainMany(*memory, 1, 30);
  const auto made = *snapshots->Create({memory}, false, nullptr);
  TrainMany(*memory, 31, 2);
  const StateToken now = TokenNow(*memory);
  EXPECT_TRUE(snapshots->Verify({memory}, made.id, nullptr).ok());
  EXPECT_TRUE(snapshots->Verify({memory}, made.id, nullptr).ok()) << "the first one left nothing behind";
  FlipABit(TableOf(FolderOf(made) + "/store"));
  const absl::Status found = snapshots->Verify({memory}, made.id, nullptr).status();
  EXPECT_EQ(ReasonOf(found), "CORRUPT_SNAPSHOT");
  EXPECT_THAT(std::string(found.message()), HasSubstr(".sst"));
  EXPECT_EQ(ReasonOf(snapshots->Restore({memory}, {.id = made.id}, nullptr).status()), "CORRUPT_SNAPSHOT");
  EXPECT_EQ(TokenNow(*memory), now);
}

TEST_F(SnapshotsTest, AMemoryThatCannotBeRecoveredIsRestoredInPlace) {
  TrainMany(*memory, 1, 30);
  const StateToken then = TokenNow(*memory);
  const auto made = *snapshots->Create({memory}, false, nullptr);  // and a table in the store
  ASSERT_TRUE(snapshots->Copy({memory}, made.id, "", nullptr).ok());
  const std::string store = dir_->StorePath(memory->uid());
  Close();
  FlipABit(TableOf(store));
  Restart();
  ASSERT_EQ(memory->figures().state, MemoryState::kFailed) << "the snapshot shares the table";
  const auto restored = snapshots->Restore({memory, ""}, {.id = made.id}, nullptr);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(TokenNow(*memory).state_hash, then.state_hash);
  EXPECT_GT(TokenNow(*memory).turn, then.turn);
  EXPECT_GT(TokenNow(*memory).epoch, then.epoch);
  EXPECT_EQ(
      Train(
          *memory, 1,
          {.session = SessionId::FromView("0123456789abcdef"), .number = 1, .opened_after = then.turn.value}),
      "SESSION_UNKNOWN");
  TrainMany(*memory, 31, 2);
}

TEST_F(SnapshotsTest, RetentionRemovesTheOldestScheduledOnesOnly) {
  const auto by_hand = *snapshots->Create({memory}, false, nullptr);
  std::vector<std::string> ids = {by_hand.id};
  for (uint64_t i = 0; i < 4; ++i) {
    TrainMany(*memory, 1 + i, 1);
    ids.push_back(snapshots->Create({memory}, true, nullptr)->id);
  }
  std::vector<std::string> left;
  const std::vector<SnapshotManifest> kept = *snapshots->List({memory});
  for (const auto& m : kept) left.push_back(m.id);
  EXPECT_EQ(left, (std::vector<std::string>{ids[0], ids[3], ids[4]}));
  EXPECT_TRUE(*snapshots->Delete(memory, by_hand.id));
  EXPECT_FALSE(*snapshots->Delete(memory, by_hand.id));
}

TEST_F(SnapshotsTest, ASnapshotThatIsGivenUpLeavesNothing) {
  TrainMany(*memory, 1, 5);
  EXPECT_TRUE(absl::IsCancelled(
      snapshots
          ->Create({memory}, false,
                   [](const char* phase, uint64_t, uint64_t) { return std::string(phase) != "hash"; })
          .status()));
  EXPECT_THAT(*snapshots->List({memory}), SizeIs(0));
  EXPECT_TRUE(fs::is_empty(path_ + "/data/tmp"));
}

TEST_F(SnapshotsTest, AForkIsEqualAndGoesItsOwnWay) {
  TrainMany(*memory, 1, 30);
  const StateToken then = TokenNow(*memory);
  const auto fork = snapshots->Fork({memory}, "copy", {});
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(fork->origin, then);
  EXPECT_EQ(Inspect(*fork->memory).state.turn, Turn(1));
  ExpectEqualContent(*memory, *fork->memory);
  TrainMany(*fork->memory, 31, 10);
  EXPECT_EQ(TokenNow(*memory), then);
  TrainMany(*memory, 31, 10);
  EXPECT_EQ(TokenNow(*memory).state_hash, TokenNow(*fork->memory).state_hash);
  EXPECT_EQ(ReasonOf(snapshots->Fork({memory}, "copy", {}).status()), "MEMORY_EXISTS");
  EXPECT_TRUE(snapshots->Fork({memory}, "copy", fork->memory->uid()).ok()) << "a retry";
}

TEST_F(SnapshotsTest, AnEphemeralMemoryIsForkedToo) {
  const auto ram = *Create("ram", SpecDurability::kMemory);
  TrainMany(*ram, 1, 30);
  const auto fork = snapshots->Fork({ram}, "copy", {});
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(Inspect(*fork->memory).state.turn, Turn(1));
  ExpectEqualContent(*ram, *fork->memory);
  TrainMany(*ram, 31, 10);
  TrainMany(*fork->memory, 31, 10);
  ExpectEqualContent(*ram, *fork->memory);
  EXPECT_EQ(ReasonOf(snapshots->Create({ram}, false, nullptr).status()), "EPHEMERAL");
}

// --- import
// --------------------------------------------------------------------------------------------------------

class ImportTest : public SnapshotsTest {
 protected:
  std::string Import(Executor& to, ImportCall call, uint64_t number) {
    call.mutation = MutationId{
        .session = SessionId::FromView("import session 1"), .number = number, .digest = {.low = number}};
    call.encode = [](const ImportReply& r) {
      return absl::StrCat("step ", r.state.step.value, " live ", r.live_count, " hash ",
                          r.state_hash.ToString());
    };
    const auto reply = Await<std::string>(to, std::move(call));
    return reply.ok() ? *reply : ReasonOf(reply.status());
  }
};

TEST_F(ImportTest, AnExportIsImportedInChunksToTheSameBits) {
  TrainMany(*memory, 1, 40);
  const auto copy = *Create("copy", SpecDurability::kFsync);
  auto content = *MemoryContent::Open(*memory, {});
  TrainMany(*memory, 41, 3);  // the export is of before
  const StateName at = content->state();
  uint64_t number = 0;
  std::string reply;
  while (true) {
    ImportCall call{.exact = true, .rows = *content->Next(7)};
    const bool last = call.rows.size() < 7;
    if (last) call.step_after = at.step.value;
    if (call.rows.empty() && !last) break;
    const ImportCall again = call;
    reply = Import(*copy, std::move(call), ++number);
    ASSERT_THAT(reply, HasSubstr("step"));
    EXPECT_EQ(Import(*copy, again, number), reply) << "a retry";
    if (last) break;
  }
  EXPECT_THAT(reply, HasSubstr(content->state_hash().ToString()));
  EXPECT_EQ(Inspect(*copy).state.step, at.step);
  ASSERT_TRUE(catalog->Delete("faces", {}).ok());
  const auto restored = *Create("faces", SpecDurability::kWal);
  for (uint64_t seed = 1; seed <= 40; ++seed) Train(*restored, seed);
  ExpectEqualContent(*restored, *copy);
}

TEST_F(ImportTest, RowsAfterAStepAreTheOnesThatAreMissing) {
  TrainMany(*memory, 1, 20);
  const auto all = Content(*memory);
  const auto rest = *MemoryContent::Open(*memory, {.after_step = all[4].written_step});
  EXPECT_EQ(rest->rows(), all.size() - 5);
  EXPECT_EQ((*rest->Next(1))[0].slot, all[5].slot);
}

TEST_F(ImportTest, NewRowsTakeTheLowestFreeSlotsAndTheNextSteps) {
  const auto small = *Create("small", SpecDurability::kWal, 8);
  const auto row = [&](int64_t value) {
    ImportRow r{.value = value, .key = std::vector<float>(8)};
    r.key[static_cast<size_t>(value) % 8] = 1;
    r.payloads = {{.place = 0, .bytes = "p" + std::to_string(value)}};
    return r;
  };
  EXPECT_THAT(Import(*small, {.rows = {row(1), row(2), row(3)}}, 1), HasSubstr("step 3 live 3"));
  EXPECT_THAT(Import(*small, {.rows = {row(4), row(5)}}, 2), HasSubstr("step 5 live 5"));
  EXPECT_EQ(Import(*small, {.rows = {row(6), row(7), row(8), row(9)}}, 3), "MEMORY_FULL");
  EXPECT_THAT(Import(*small, {.rows = {row(6), row(7), row(8)}}, 3), HasSubstr("step 8 live 8"))
      << "a refused chunk consumes no number";
  const auto rows = Content(*small);
  for (uint64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(rows[i].slot, i);
    EXPECT_EQ(rows[i].written_step, i + 1);
    EXPECT_EQ(
        rows[i].payloads,
        (std::vector<PayloadRow>{{.place = 0, .step = Step(i + 1), .bytes = "p" + std::to_string(i + 1)}}));
  }
  EXPECT_EQ(Inspect(*small).distinct_values, 8);
}

TEST_F(ImportTest, AnExactRowNeedsAFreeSlotAndALaterStep) {
  TrainMany(*memory, 1, 2);
  const StateToken now = TokenNow(*memory);
  std::vector<ImportRow> rows = Content(*memory);
  ImportRow taken = rows[0];
  taken.written_step = now.step.value + 1;
  EXPECT_EQ(Import(*memory, {.exact = true, .rows = {taken}}, 1), "SLOT_TAKEN");
  ImportRow early = rows[0];
  early.slot = 63;
  EXPECT_EQ(Import(*memory, {.exact = true, .rows = {early}}, 1), "SLOT_TAKEN");
  EXPECT_EQ(TokenNow(*memory), now);
}

TEST_F(ImportTest, WhatWasImportedIsThereAfterARestart) {
  TrainMany(*memory, 1, 20);
  const auto copy = *Create("copy", SpecDurability::kWal);
  ASSERT_THAT(
      Import(*copy, {.exact = true, .rows = Content(*memory), .step_after = TokenNow(*memory).step.value}, 1),
      HasSubstr("step"));
  Restart();
  ExpectEqualContent(*memory, **catalog->Find("copy", {}));
}

}  // namespace
}  // namespace evoke::testing
