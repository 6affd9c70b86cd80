// What the process was told: flags, environment and file, read once and immutable from then on.
//
//   flag (--data-dir X) > environment (EVOKE_DATA_DIR=X) > file (--config F, TOML: data-dir = "X") > default
//
// There is one table of options, in config.cc; names, environment names and keys of the file all come from
// it. Failure: all errors of all sources are reported together, one a line; an unknown key names the nearest
// known one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/executor.h"

namespace evoke {

struct Config {
  std::string data_dir;
  std::vector<std::string> listen;  // host:port or unix:path
  std::string http_listen;          // host:port; empty: off
  bool allow_insecure_remote = false;
  std::string tls_certificate;  // files; empty: none
  std::string tls_key;
  std::string tls_client_ca;
  std::string tokens;
  std::string audit_log;
  absl::Duration handshake_timeout;
  uint32_t threads = 0;     // for searches and turns; 0: one a core
  uint32_t io_threads = 0;  // for what blocks on a disk
  EngineOptions engine;
  uint64_t max_message_bytes = 0;
  uint32_t max_rows = 0;
  uint32_t max_k = 0;
  uint32_t max_memories = 0;
  uint64_t memory_budget_bytes = 0;  // RAM that all memories may plan for; 0: four fifths of what there is
  uint32_t max_open_exports = 0;     // exports and snapshots under way at a time
  uint64_t keep_records_count = 0;  // turn records kept a memory, and their bytes
  uint64_t keep_records_bytes = 0;
  uint64_t block_cache_bytes = 0;  // shared by all memories, as the next one
  uint64_t write_buffer_bytes = 0;
  uint64_t disk_reserve_bytes = 0;  // free bytes below which writes are refused; 0: none are
  std::string backup_dir;            // snapshots are copied below it and restored from there; empty: nowhere
  absl::Duration snapshot_every;     // of every durable memory that changes; zero: none by the clock
  uint32_t snapshot_keep = 0;        // of those, a memory
  absl::Duration drain_timeout;
  absl::Duration slow_turn;          // turns that take as long are told in the log; zero: none are
  std::string log_level;
  std::string log_format;  // "text" or "json"
  bool die_with_parent = false;
  std::string text;    // LoadedConfig::printed
  std::string digest;  // 16 hex digits; equal ones: every option has the same value, wherever it came from
};

enum class Action { kServe, kPrintConfig, kCheckConfig, kVersion, kHelp };

struct LoadedConfig {
  Action action = Action::kServe;
  Config config;
  std::string printed;                // every key with its value and where it came from, itself a legal file
  std::vector<std::string> warnings;  // legal, and perhaps not meant: foreign EVOKE_..., no encryption
  std::map<std::string, std::string> values;  // key to text, as in `printed`
};

// `args` without the program's name; `environment` all of it; the file is read when one is named.
// INVALID_ARGUMENT with a line for each error. With --help and --version the rest is not looked at.
absl::StatusOr<LoadedConfig> LoadConfig(const std::vector<std::string>& args,
                                        const std::map<std::string, std::string>& environment);

// Options whose values differ and which a running process cannot change.
std::vector<std::string> NeedRestart(const LoadedConfig& running, const LoadedConfig& fresh);

// The text of --help.
std::string HelpText();

}  // namespace evoke
