#include "server/config/option_table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/config/values.h"

namespace evoke {
namespace {

using Setter = std::function<std::string(const std::string&, Config*)>;

// `field` is a callable Config& -> field&.
template <typename Field>
Setter Number(Field field, uint64_t low, uint64_t high) {
  return [=](const std::string& text, Config* config) {
    uint64_t number = 0;
    std::string expected = ParseNumber(text, low, high, &number);
    using Type = std::remove_reference_t<decltype(field(*config))>;
    if (expected.empty()) field(*config) = static_cast<Type>(number);
    return expected;
  };
}

template <typename Field>
Setter Bytes(Field field, uint64_t low, uint64_t high) {
  return
      [=](const std::string& text, Config* config) { return ParseBytes(text, low, high, &field(*config)); };
}

template <typename Field>
Setter OneOf(Field field, std::vector<std::string> choices) {
  return [=](const std::string& text, Config* config) -> std::string {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) return absl::StrJoin(choices, ", ");
    field(*config) = text;
    return "";
  };
}

template <typename Field>
Setter Text(Field field) {
  return [=](const std::string& text, Config* config) -> std::string {
    field(*config) = text;
    return "";
  };
}

template <typename Field>
Setter Switch(Field field) {
  return [=](const std::string& text, Config* config) { return ParseBool(text, &field(*config)); };
}

std::string SetListen(const std::string& text, Config* config) {
  config->listen.clear();
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::string address(absl::StripAsciiWhitespace(part));
    if (std::string expected = CheckAddress(address, true); !expected.empty()) return expected;
    config->listen.push_back(address);
  }
  return "";
}

std::string SetHttpListen(const std::string& text, Config* config) {
  config->http_listen.clear();
  if (text == "off") return "";
  if (!CheckAddress(text, false).empty()) return "host:port or off";
  config->http_listen = text;
  return "";
}

std::string SetDataDir(const std::string& text, Config* config) {
  config->data_dir = text;
  return text.empty() ? "a directory" : "";
}

std::string SetGpuDevices(const std::string& text, Config* config) {
  std::vector<int>& devices = config->engine.gpu_devices;
  devices.clear();
  if (text.empty()) return "";
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    uint64_t number = 0;
    const std::string expected = ParseNumber(std::string(absl::StripAsciiWhitespace(part)), 0, 1023, &number);
    const auto device = static_cast<int>(number);
    if (!expected.empty() || std::count(devices.begin(), devices.end(), device) > 0) {
      return "different numbers of GPUs, separated by commas";
    }
    devices.push_back(device);
  }
  return "";
}

#define EVOKE_FIELD(name)   \
  [](Config & c) -> auto& { \
    return c.name;          \
  }

std::vector<Option> MakeTable() {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  return {
      {"data-dir", "DIR", nullptr, "Where durable memories live; made if it is not there.", false,
       SetDataDir},
      {"listen", "ADDRESS", "127.0.0.1:7380",
       "gRPC on host:port or unix:path; repeat it or separate by commas. Port 0: one is chosen.", true,
       SetListen},
      {"http-listen", "ADDRESS", "127.0.0.1:7381",
       "Metrics and probes on host:port, or off. Port 0: one is chosen.", false, SetHttpListen},
      {"allow-insecure-remote", "", "false", "Listen beyond this machine with neither TLS nor tokens.", false,
       Switch(EVOKE_FIELD(allow_insecure_remote))},
      {"tls-certificate", "FILE", "", "PEM: gRPC on host:port speaks TLS only. SIGHUP reads it again.", false,
       Text(EVOKE_FIELD(tls_certificate)), true},
      {"tls-key", "FILE", "", "PEM: the key of tls-certificate.", false, Text(EVOKE_FIELD(tls_key)), true},
      {"tls-client-ca", "FILE", "", "PEM: clients must show a certificate that one of these signed.", false,
       Text(EVOKE_FIELD(tls_client_ca)), true},
      {"tokens", "FILE", "", "Who may call what, by token. SIGHUP reads it again.", false,
       Text(EVOKE_FIELD(tokens)), true},
      {"audit-log", "FILE", "", "Lines on calls that change what there is; else they are in the log.", false,
       Text(EVOKE_FIELD(audit_log))},
      {"handshake-timeout", "DURATION", "10s", "When a connection that is not yet one is dropped.", false,
       [](const std::string& text, Config* config) {
         const std::string expected = ParseDuration(text, &config->handshake_timeout);
         return !expected.empty() || config->handshake_timeout >= absl::Milliseconds(100) ? expected
                                                                                          : "at least 100ms";
       }},
      {"threads", "N", "0", "Threads for searches and turns; 0: one a core.", false,
       Number(EVOKE_FIELD(threads), 0, 1024)},
      {"io-threads", "N", "4", "Threads for what blocks on a disk: commits, recovery, Create, Delete.", false,
       Number(EVOKE_FIELD(io_threads), 1, 1024)},
      {"shards", "N", "0", "Parts of a memory that are read and searched in parallel; 0: one for 262,144 slots, at most min(cores, partitions); or one a GPU.",
       false, Number(EVOKE_FIELD(engine.shards), 0, 65536)},
      {"index", "NAME", "flat",
       "Search structure of memories: flat, faiss_flat, canonical (slow: for comparisons), gpu, faiss_gpu, faiss_gpu_f16 or "
       "faiss_gpu_flat (on a GPU: where that is built in). No answer depends on it.",
       false,
       OneOf(EVOKE_FIELD(engine.index),
             {"flat", "faiss_flat", "canonical", "gpu", "faiss_gpu", "faiss_gpu_f16", "faiss_gpu_flat"})},
      {"gpu-devices", "NUMBERS", "", "GPUs that an index on one takes, 0,1 for instance; empty: all. Shards take turns.", false,
       SetGpuDevices},
      {"max-message-bytes", "BYTES", "64MiB", "Largest request, and largest reply as predicted.", false,
       Bytes(EVOKE_FIELD(max_message_bytes), 64 << 10, kGiB), true},
      {"max-rows", "N", "16384", "Rows of a request.", false, Number(EVOKE_FIELD(max_rows), 1, 1 << 20),
       true},
      {"max-k", "N", "1024", "Neighbors of a row.", false, Number(EVOKE_FIELD(max_k), 1, 1024), true},
      {"mailbox-rows", "N", "65536", "Rows that may wait for a memory; beyond: RESOURCE_EXHAUSTED.", false,
       Number(EVOKE_FIELD(engine.mailbox_rows), 1, 1 << 30)},
      {"mailbox-bytes", "BYTES", "256MiB", "Bytes that may wait for a memory; beyond: RESOURCE_EXHAUSTED.", false,
       Bytes(EVOKE_FIELD(engine.mailbox_bytes), 1 << 20, 1024 * kGiB)},
      {"max-turn-rows", "N", "4096", "Rows that one turn takes; a larger request is alone in its turn.",
       false, Number(EVOKE_FIELD(engine.max_turn_rows), 1, 1 << 20)},
      {"max-sessions", "N", "1024", "Sessions a memory; the one least recently used is forgotten first.",
       false, Number(EVOKE_FIELD(engine.max_sessions), 1, 1 << 20)},
      {"max-memories", "N", "1024", "Memories of this server.", false,
       Number(EVOKE_FIELD(max_memories), 1, 1 << 20)},
      {"memory-budget-bytes", "BYTES", "0",
       "RAM that all memories together may need when full; 0: 80 % of the machine's, or of the cgroup's.", false,
       Bytes(EVOKE_FIELD(memory_budget_bytes), 0, kAny)},
      {"max-open-exports", "N", "8", "Exports and snapshots under way at a time.", false,
       Number(EVOKE_FIELD(max_open_exports), 1, 1024)},
      {"audit-slots-per-second", "N", "10000",
       "Slots of a memory that are compared with index and store in the background; 0: none.", false,
       Number(EVOKE_FIELD(engine.audit_slots_per_second), 0, 1 << 30)},
      {"keep-records-count", "N", "4096", "Turn records kept a memory; 0: none.", false,
       Number(EVOKE_FIELD(keep_records_count), 0, kAny)},
      {"keep-records-bytes", "BYTES", "64MiB", "Bytes of the turn records kept a memory.", false,
       Bytes(EVOKE_FIELD(keep_records_bytes), 0, kAny)},
      {"block-cache-bytes", "BYTES", "128MiB", "Cache of blocks read from disk, for all memories together.",
       false, Bytes(EVOKE_FIELD(block_cache_bytes), 1 << 20, 1024 * kGiB)},
      {"write-buffer-bytes", "BYTES", "256MiB",
       "Written rows held in RAM before they go to files, all memories together.", false,
       Bytes(EVOKE_FIELD(write_buffer_bytes), 4 << 20, 1024 * kGiB)},
      {"disk-reserve-bytes", "BYTES", "256MiB",
       "Free bytes of the data directory's disk below which writes are refused; 0: never for that.", false,
       Bytes(EVOKE_FIELD(disk_reserve_bytes), 0, kAny)},
      {"backup-dir", "DIR", "", "Where snapshots may be copied to and restored from, a mounted volume; empty: nowhere.", false,
       Text(EVOKE_FIELD(backup_dir))},
      {"snapshot-every", "DURATION", "0s", "A snapshot of each durable memory that has changed so long; 0s: none.", false,
       [](const std::string& text, Config* config) { return ParseDuration(text, &config->snapshot_every); }},
      {"snapshot-keep", "N", "24", "Of the snapshots made by snapshot-every, those kept a memory.", false,
       Number(EVOKE_FIELD(snapshot_keep), 1, 100000)},
      {"drain-timeout", "DURATION", "30s", "How long a stop waits for what was accepted.", false,
       [](const std::string& text, Config* config) { return ParseDuration(text, &config->drain_timeout); }},
      {"log-level", "LEVEL", "info", "debug, info, warn or error.", false,
       OneOf(EVOKE_FIELD(log_level), {"debug", "info", "warn", "error"}), true},
      {"log-format", "FORMAT", "text", "text, or json: one object a line.", false,
       OneOf(EVOKE_FIELD(log_format), {"text", "json"})},
      {"slow-turn", "DURATION", "1s", "Turns that take as long are told in the log, with their phases; 0s: none are.", false,
       [](const std::string& text, Config* config) { return ParseDuration(text, &config->slow_turn); }, true},
      {"die-with-parent", "", "false", "Stop when the process that started this one ends.", false,
       Switch(EVOKE_FIELD(die_with_parent))},
  };
}

}  // namespace

const std::vector<Option>& OptionTable() {
  static const auto* const table = new std::vector<Option>(MakeTable());
  return *table;
}

std::string VariableOf(const std::string& key) {
  std::string name = absl::AsciiStrToUpper(key);
  std::replace(name.begin(), name.end(), '-', '_');
  return "EVOKE_" + name;
}

}  // namespace evoke
