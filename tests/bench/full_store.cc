#include "tests/bench/full_store.h"

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/check.h"
#include "server/memory/state_hash.h"

namespace evoke::bench {
namespace {

constexpr size_t kFloats = size_t{1} << 20;
constexpr uint64_t kFillRows = 2048;  // of a turn

MemoryUid Uid() {
  MemoryUid uid;
  uid.bytes.fill(1);
  return uid;
}

SessionId Session() {
  SessionId session;
  session.bytes.fill(2);
  return session;
}

std::string CpuLine(const std::string& name) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(name, 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

absl::Duration ThreadCpu() {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return absl::DurationFromTimespec(used);
}

}  // namespace

bool Smoke() { return std::getenv("EVOKE_BENCH_SMOKE") != nullptr; }

Folder::Folder() {
  const char* parent = std::getenv("EVOKE_BENCH_DIR");
  std::string name = absl::StrCat(parent ? parent : std::filesystem::temp_directory_path().string(), "/bench_XXXXXX");
  EVOKE_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void DescribeRun(int argc, char** argv) {
  std::string isa;
  const std::string flags = absl::StrCat(" ", CpuLine("flags"), " ");
  for (const char* flag : {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}) {
    if (flags.find(absl::StrCat(" ", flag, " ")) != std::string::npos) absl::StrAppend(&isa, isa.empty() ? "" : " ", flag);
  }
  std::string command = std::filesystem::path(argv[0]).filename().string();
  for (int i = 1; i < argc; ++i) absl::StrAppend(&command, " ", argv[i]);
  for (const char* variable : {"EVOKE_BENCH_SMOKE", "EVOKE_BENCH_MINUTES"}) {
    if (const char* value = std::getenv(variable)) command = absl::StrCat(variable, "=", value, " ", command);
  }
  benchmark::AddCustomContext("cpu", CpuLine("model name"));
  benchmark::AddCustomContext("cores", absl::StrCat(std::thread::hardware_concurrency()));
  benchmark::AddCustomContext("isa", isa);
  benchmark::AddCustomContext("command", command);
}

FullStore::FullStore(Options options) : options_(std::move(options)) {
  std::uniform_real_distribution<float> component(-0.15f, 0.15f);
  floats_.resize(kFloats + options_.spec.key_dim);
  for (float& f : floats_) f = component(random_);
  hashes_.resize(options_.spec.capacity);
  hits_.resize(options_.spec.capacity);
  Open(/*create=*/true);
  while (live_ < options_.spec.capacity) {
    TurnRecord record = Begin(AdminOp::kImport);
    const uint64_t end = std::min(options_.spec.capacity, live_ + kFillRows);
    for (uint64_t slot = live_; slot < end; ++slot) Write(slot, WriteKind::kImport, &record);
    live_ = end;
    Commit(std::move(record));
  }
  turn_bytes_ = 0;
}

FullStore::~FullStore() = default;

absl::Duration FullStore::Open(bool create) {
  const MemorySpec& spec = options_.spec;
  const absl::Time begin = absl::Now();
  auto store = RocksDbSlotStore::Open({.path = options_.path,
                                       .uid = Uid(),
                                       .key_dim = spec.key_dim,
                                       .partitions = spec.partitions,
                                       .payload_history = spec.payload_history,
                                       .durability = static_cast<Durability>(spec.durability),
                                       .spec_digest = SpecDigest(spec),
                                       .create = create,
                                       .shared = RocksDbResources::Create(options_.rocksdb)});
  const absl::Duration took = absl::Now() - begin;
  EVOKE_CHECK(store.ok());
  store_ = *std::move(store);
  return took;
}

TurnRecord FullStore::Begin(AdminOp admin) const {
  const MetaRow meta = *store_->ReadMeta();
  return {.uid = meta.uid,
          .epoch = meta.epoch,
          .term = meta.term,
          .turn = meta.turn.Next(),
          .previous_chain = meta.chain,
          .step_before = meta.step,
          .step_after = meta.step,
          .admin = admin};
}

void FullStore::Write(uint64_t slot, WriteKind kind, TurnRecord* record) {
  const MemorySpec& spec = options_.spec;
  record->step_after = record->step_after.Next();
  const float* key = floats_.data() + random_() % kFloats;
  uint32_t& hits = hits_[slot];
  if (kind == WriteKind::kHit) ++hits;
  SlotWrite write{.slot = SlotId(slot),
                  .kind = kind,
                  .value = static_cast<int64_t>(slot / 2),
                  .written_step = record->step_after,
                  .hits = hits,
                  .key = {key, key + spec.key_dim}};
  if (spec.payload_history >= 2) {
    const uint32_t place = kind == WriteKind::kHit ? 1 + (hits - 1) % (spec.payload_history - 1) : 0;
    write.payloads.push_back({.place = static_cast<uint16_t>(place), .step = record->step_after});
  }
  state_hash_ -= hashes_[slot];
  hashes_[slot] = SlotHash(slot, write.value, write.written_step.value, hits, write.key);
  state_hash_ += hashes_[slot];
  record->writes.push_back(std::move(write));
}

FullStore::Cost FullStore::Overwrite() {
  TurnRecord record = Begin(AdminOp::kNone);
  std::set<uint64_t> slots;
  while (slots.size() < std::min<uint64_t>(options_.rows, options_.spec.capacity)) {
    const uint64_t slot = random_() % options_.spec.capacity;
    if (slots.insert(slot).second) Write(slot, WriteKind::kHit, &record);
  }
  if (number_ == 0) record.sessions.push_back({.kind = SessionOp::Kind::kOpen, .session = Session()});
  if (number_ > 0) {
    record.sessions.push_back(
        {.kind = SessionOp::Kind::kAcknowledge, .session = Session(), .number = number_ + 1});
  }
  record.sessions.push_back(
      {.session = Session(), .number = ++number_, .reply = std::string(options_.reply_bytes, 'r')});
  return Commit(std::move(record));
}

FullStore::Cost FullStore::Commit(TurnRecord record) {
  record.state_hash = state_hash_;
  record.live_after = live_;
  if (turn_bytes_ == 0 && record.admin == AdminOp::kNone) {
    turn_bytes_ = EncodeTurnRecord(record).bytes.size() + options_.reply_bytes +
                  record.writes.size() * (sizeof(float) * options_.spec.key_dim + 64);
  }
  const TurnRecord* const records[] = {&record};
  const absl::Time begin = absl::Now();
  const absl::Duration cpu = ThreadCpu();
  const absl::Status status = store_->Commit(records);
  const Cost cost{.time = absl::Now() - begin, .cpu = ThreadCpu() - cpu};
  EVOKE_CHECK(status.ok());
  return cost;
}

}  // namespace evoke::bench
