// Writes the first inputs of the fuzz targets whose formats are binary: fuzz_corpus FOLDER. What fuzzing has found
// since lies beside them; inputs in text are written by hand.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "evoke/v1/admin_service.pb.h"
#include "evoke/v1/memory_service.pb.h"
#include "server/memory/memory_spec.h"
#include "storage/bytes.h"
#include "storage/key_layout.h"
#include "storage/manifest.h"
#include "storage/slot_record.h"
#include "storage/state_rows.h"
#include "tests/unit/service/request_builders.h"
#include "tests/unit/storage/turn_builder.h"

namespace evoke::fuzz {
namespace {

class Corpus {
 public:
  explicit Corpus(std::string folder) : folder_(std::move(folder)) {}
  // `form` are the bytes by which the target chooses what the rest is.
  void Add(const std::string& target, const std::string& name, std::string_view form, std::string_view bytes) {
    std::filesystem::create_directories(folder_ + "/" + target);
    std::ofstream(folder_ + "/" + target + "/" + name, std::ios::binary) << form << bytes;
  }

 private:
  const std::string folder_;
};

std::string_view WithoutSum(std::string_view bytes) { return bytes.substr(0, bytes.size() - 8); }

void AddRecord(const std::string& name, const TurnRecord& record, Corpus* corpus) {
  const std::string bytes = EncodeTurnRecord(record).bytes;
  corpus->Add("turn_record", name + "-raw", {"\0", 1}, bytes);
  corpus->Add("turn_record", name + "-summed", "\1", WithoutSum(bytes));
  corpus->Add("turn_record", name + "-body", "\2", std::string_view(bytes).substr(16, bytes.size() - 16 - 24));
}

void AddRecords(Corpus* corpus) {
  testing::TurnBuilder builder;
  for (int i = 0; i < 3; ++i) AddRecord("turn" + std::to_string(i), builder.Next(), corpus);
  AddRecord("clear", builder.Clear(), corpus);
  TurnRecord fork = builder.Next();
  fork.admin = AdminOp::kFork;
  fork.origin = StateOrigin{.uid = testing::UidOf(3), .epoch = Epoch(1), .turn = Turn(4), .step = Step(9)};
  AddRecord("fork", fork, corpus);
}

void AddRows(Corpus* corpus) {
  const KeyLayout layout(4);  // as slot_row.cc makes it of the byte 3
  std::string row;
  const SlotWrite write{.slot = SlotId(6), .value = -5, .written_step = Step(77), .hits = 2, .key = {0.6f, 0.8f}};
  EncodeSlotRow(layout.Slot(write.slot), write, &row);
  corpus->Add("slot_row", "raw", {"\0\1\3\6\0", 5}, row);
  corpus->Add("slot_row", "sealed", {"\1\1\3\6\0", 5}, WithoutSum(row));

  SessionRow session{.id = testing::SessionOf(5), .last_turn = Turn(8), .last_number = 3};
  session.replies = {{2, {.low = 1, .high = 2}, 30}, {3, {.low = 3, .high = 4}, 31}};
  const MetaRow meta{.uid = testing::UidOf(7), .turn = Turn(40), .step = Step(99), .live_count = 12};
  const std::string rows[] = {
      EncodeFormatRow(KeyLayout::Format(), {.key_dim = 3, .partitions = 4, .payload_history = 2}),
      EncodeMetaRow(KeyLayout::Meta(), meta, RecordWindow({{Turn(9), 100}, {Turn(30), 50}}, Turn(41))),
      EncodeSessionRow(KeyLayout::Session(session.id), session),
      EncodePayload(layout.Payload(SlotId(9), 2), Step(5), "payload")};
  const char* const names[] = {"format", "meta", "session", "payload"};
  for (size_t kind = 0; kind < 4; ++kind) {
    const std::string name = names[kind];
    corpus->Add("state_rows", name + "-raw", std::string(1, static_cast<char>(2 * kind)), rows[kind]);
    corpus->Add("state_rows", name + "-sealed", std::string(1, static_cast<char>(2 * kind + 1)), WithoutSum(rows[kind]));
  }
  corpus->Add("row_keys", "slot", {"\3\0", 2}, layout.Slot(SlotId(1234567)));
  corpus->Add("row_keys", "session", {"\3\0", 2}, KeyLayout::Session(session.id));
  corpus->Add("row_keys", "record", {"\3\0", 2}, KeyLayout::Record(Turn(300)));
}

void AddFiles(Corpus* corpus) {
  std::string catalog;
  ByteWriter out(&catalog);
  out.PutRaw("EVKC");
  out.Put(uint32_t{1});
  out.Put(uint32_t{2});
  for (const uint8_t entry : {1, 2}) {
    out.PutString(entry == 1 ? "faces" : "gone");
    out.Put(testing::UidOf(entry));
    out.Put(entry);
    out.PutString(EncodeSpec(SmallSpec()));
  }
  corpus->Add("data_dir", "format", {"\0", 1}, "evoke-data 1\n");
  corpus->Add("data_dir", "format-newer", {"\0", 1}, "evoke-data 2\n");
  corpus->Add("data_dir", "catalog", "\2", catalog);

  SnapshotManifest manifest{.id = "3-1042-20261121T133912.123Z",
                            .memory = "faces",
                            .spec = EncodeSpec(SmallSpec()),
                            .uid = testing::UidOf(7),
                            .epoch = Epoch(3),
                            .turn = Turn(1042),
                            .step = Step(5000),
                            .chain = {.low = 1, .high = 2},
                            .live_count = 2,
                            .partitions = {{1, {.low = 5, .high = 6}}, {1, {.low = 7, .high = 8}}},
                            .created = absl::FromUnixMillis(1795268352123)};
  manifest.files = {{"store/000012.sst", 4096, std::string(64, 'a')}, {"store/CURRENT", 16, std::string(64, '0')}};
  corpus->Add("manifest", "small", "", EncodeManifest(manifest));

  MemorySpec spec = SmallSpec();
  corpus->Add("memory_spec", "defaults", "", EncodeSpec(spec));
  spec.merge_on_miss = 0.5f;
  spec.fold_misses = -1.0f;
  corpus->Add("memory_spec", "thresholds", "", EncodeSpec(spec));
}

void AddRequests(Corpus* corpus) {
  const std::string raw("\0\3\x63\4", 4);        // a memory of 4 dimensions, 100 slots, 4 payloads
  const std::string raw_update("\2\3\x63\4", 4);
  corpus->Add("query_request", "two-rows", raw, TwoRowQuery().SerializeAsString());
  v1::QueryRequest query = TwoRowQuery();
  query.set_k(3);
  query.set_inverse_temperature(2);
  query.set_neighbor_payloads(true);
  query.set_skip("\2");
  corpus->Add("query_request", "options", raw, query.SerializeAsString());
  corpus->Add("observe_request", "train", raw, TwoRowObserve<v1::TrainStepRequest>().SerializeAsString());
  corpus->Add("observe_request", "update", raw_update, TwoRowObserve<v1::UpdateRequest>().SerializeAsString());

  v1::ImportRequest import;
  *import.mutable_mutation() = TwoRowObserve<v1::UpdateRequest>().mutation();
  *import.mutable_new_rows()->mutable_embeddings() = Rows({3, 0, 4, 0, 0, 1, 0, 0});
  import.mutable_new_rows()->set_values(Raw<int64_t>({7, -8}));
  corpus->Add("import_request", "new-rows", raw, import.SerializeAsString());
  v1::SlotRows& exact = *import.mutable_exact();
  exact.set_rows(1);
  exact.set_slots(Raw<uint64_t>({4}));
  exact.set_values(Raw<int64_t>({9}));
  exact.set_written_steps(Raw<uint64_t>({12}));
  exact.set_hits(Raw<uint32_t>({1}));
  exact.set_keys(Raw<float>({0, 1, 0, 0}));
  v1::PlacedPayload& payload = *exact.add_payloads();
  payload.set_place(1);
  payload.set_step(12);
  payload.set_data("p");
  import.set_step_after(20);
  corpus->Add("import_request", "exact", raw, import.SerializeAsString());

  // Numbers of which the target makes a request of the right shape.
  std::string numbers;
  for (int i = 0; i < 200; ++i) numbers.push_back(static_cast<char>(i * 37));
  for (const char* target : {"query_request", "observe_request", "import_request"}) {
    corpus->Add(target, "shaped", "\1\3\x63\4", numbers);
  }
}

void AddAdmin(Corpus* corpus) {
  v1::GetSlotsRequest slots;
  slots.mutable_memory()->set_name("faces");
  slots.add_slots(3);
  slots.add_values(-8);
  slots.set_limit(4);
  slots.set_payloads(true);
  corpus->Add("admin_request", "slots", {"\0\3\x63\4", 4}, slots.SerializeAsString());
  v1::ClearMemoryRequest clear;
  *clear.mutable_mutation() = TwoRowObserve<v1::UpdateRequest>().mutation();
  corpus->Add("admin_request", "clear", "\1\3\x63\4", clear.SerializeAsString());
  v1::CreateMemoryRequest create;
  create.set_name("faces");
  create.mutable_spec()->set_key_dim(4);
  create.mutable_spec()->set_capacity(100);
  create.mutable_spec()->set_merge_on_miss(0.5f);
  create.mutable_spec()->set_margin(0.25f);
  create.mutable_spec()->set_partitions(8);
  corpus->Add("admin_request", "create", "\2\3\x63\4", create.SerializeAsString());
  v1::RestoreSnapshotRequest restore;
  restore.mutable_token()->set_uid(std::string(16, 'u'));
  restore.mutable_token()->set_turn(3);
  restore.mutable_token()->set_state_hash("0123456789abcdef0123456789abcdef");
  corpus->Add("admin_request", "restore", "\3\3\x63\4", restore.SerializeAsString());
}

}  // namespace
}  // namespace evoke::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  evoke::fuzz::Corpus corpus(argv[1]);
  evoke::fuzz::AddRecords(&corpus);
  evoke::fuzz::AddRows(&corpus);
  evoke::fuzz::AddFiles(&corpus);
  evoke::fuzz::AddRequests(&corpus);
  evoke::fuzz::AddAdmin(&corpus);
}
