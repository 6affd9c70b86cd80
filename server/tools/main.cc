// evoke-inspect: what a data directory holds, offline.
//
//   evoke-inspect --data-dir DIR list
//   evoke-inspect --data-dir DIR slots|records|check|replay MEMORY
//   evoke-inspect --data-dir DIR replay MEMORY --from SNAPSHOT_FOLDER
//   evoke-inspect --data-dir DIR snapshots
//   evoke-inspect verify-snapshot SNAPSHOT_FOLDER
//
// Exit: 0 clean, 1 failure, 2 usage, 3 data corrupt or format, 4 data directory locked.
#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/tools/evoke_inspect.h"
#include "server/tools/replay.h"
#include "server/tools/snapshot_check.h"
#include "storage/catalog.h"
#include "storage/data_dir.h"

namespace evoke {
namespace {

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "evoke-inspect: " << status.message() << "\n";
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
      return 3;
    case absl::StatusCode::kAborted:
      return 4;
    default:
      return 1;
  }
}

struct Arguments {
  std::string data_dir;
  std::string memory;
  uint64_t limit = 100;
  uint64_t from = 0;
  std::string snapshot;  // folder
  bool verbose = false;
};

absl::Status List(const Arguments& arguments) {
  EVOKE_ASSIGN_OR_RETURN(auto dir, DataDir::Open(arguments.data_dir));
  EVOKE_ASSIGN_OR_RETURN(const std::vector<CatalogEntry> entries, CatalogFile(dir.get()).Load());
  for (const CatalogEntry& entry : entries) {
    EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(entry.spec));
    std::cout << entry.name << "  " << entry.uid.ToString() << "  " << spec.capacity << " x " << spec.key_dim
              << (entry.state == CatalogEntry::State::kLive ? "" : "  (being made or removed)") << "\n";
  }
  return absl::OkStatus();
}

// Of every memory that there is.
absl::Status Snapshots(const Arguments& arguments) {
  EVOKE_ASSIGN_OR_RETURN(auto dir, DataDir::Open(arguments.data_dir));
  EVOKE_ASSIGN_OR_RETURN(const std::vector<CatalogEntry> entries, CatalogFile(dir.get()).Load());
  for (const CatalogEntry& entry : entries) {
    EVOKE_ASSIGN_OR_RETURN(const auto snapshots, ListSnapshots(dir->SnapshotsPath(entry.uid)));
    PrintSnapshots(snapshots, std::cout);
  }
  return absl::OkStatus();
}

template <typename Body>
absl::Status WithStore(const Arguments& arguments, Body body) {
  EVOKE_ASSIGN_OR_RETURN(auto dir, DataDir::Open(arguments.data_dir));
  EVOKE_ASSIGN_OR_RETURN(const std::vector<CatalogEntry> entries, CatalogFile(dir.get()).Load());
  for (const CatalogEntry& entry : entries) {
    if (entry.name != arguments.memory || entry.state != CatalogEntry::State::kLive) continue;
    EVOKE_ASSIGN_OR_RETURN(const MemorySpec spec, DecodeSpec(entry.spec));
    EVOKE_ASSIGN_OR_RETURN(auto store, RocksDbSlotStore::Open({.path = dir->StorePath(entry.uid),
                                                               .uid = entry.uid,
                                                               .key_dim = spec.key_dim,
                                                               .partitions = spec.partitions,
                                                               .payload_history = spec.payload_history,
                                                               .spec_digest = SpecDigest(spec),
                                                               .read_only = true}));
    return body(InspectedMemory{entry.name, entry.uid, spec}, *store);
  }
  return absl::NotFoundError(absl::StrCat("there is no memory \"", arguments.memory, "\" in ", arguments.data_dir));
}

int Main(int argc, char** argv) {
  CLI::App app("Reads an Evoke data directory offline; changes nothing in it.", "evoke-inspect");
  Arguments a;
  app.add_option("--data-dir", a.data_dir, "data directory of a server that is not running");
  app.require_subcommand(1);
  CLI::App* list = app.add_subcommand("list", "the memories of the directory");
  CLI::App* slots = app.add_subcommand("slots", "print live slots");
  slots->add_option("--limit", a.limit, "at most so many slots")->capture_default_str();
  CLI::App* records = app.add_subcommand("records", "print kept turn records");
  records->add_option("--from", a.from, "first turn; 0: the first that is kept")->capture_default_str();
  records->add_flag("-v,--verbose", a.verbose, "their writes and sessions too");
  CLI::App* check = app.add_subcommand("check", "verify rows, sums and the chain of records");
  CLI::App* replay = app.add_subcommand("replay", "apply all records to an empty memory and compare; needs turn 1");
  replay->add_option("--from", a.snapshot, "begin at the state in this folder of a snapshot instead");
  CLI::App* snapshots = app.add_subcommand("snapshots", "the complete snapshots of the directory");
  CLI::App* verify = app.add_subcommand("verify-snapshot", "compare every byte and row of one with its manifest");
  verify->add_option("folder", a.snapshot, "of the snapshot; needs no --data-dir")->required();
  for (CLI::App* command : {slots, records, check, replay}) command->add_option("memory", a.memory, "name")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (*verify) return ExitCodeOf(VerifySnapshotFolder(a.snapshot, std::cout));
  if (a.data_dir.empty()) {
    std::cerr << "evoke-inspect: --data-dir is required\n";
    return 2;
  }

  if (*list) return ExitCodeOf(List(a));
  if (*snapshots) return ExitCodeOf(Snapshots(a));
  return ExitCodeOf(WithStore(a, [&](const InspectedMemory& memory, const SlotStore& store) {
    if (*slots) return PrintSlots(memory, store, a.limit, std::cout);
    if (*records) return PrintRecords(store, Turn(a.from), a.verbose, std::cout);
    if (*check) return CheckStore(memory, store, std::cout);
    if (!a.snapshot.empty()) return ReplayFrom(memory, store, a.snapshot, std::cout);
    return Replay(memory, store, std::cout);
  }));
}

}  // namespace
}  // namespace evoke

int main(int argc, char** argv) { return evoke::Main(argc, argv); }
