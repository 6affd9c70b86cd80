// The columns of an export file (client/README.md, "Export files"): names, types, and how .npy spells them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evoke::cli {

inline constexpr char kExportFormat[] = "evoke-export 1";
inline constexpr char kHeaderMember[] = "evoke.json";

// In the order of the file.
enum Column : size_t {
  kSlots,
  kValues,
  kWrittenSteps,
  kHits,
  kKeys,
  kPayloadRows,
  kPayloadPlaces,
  kPayloadSteps,
  kPayloadEnds,
  kPayloadBytes,
  kColumnCount,
};

struct ColumnFormat {
  absl::string_view name;
  absl::string_view descr;  // of the .npy
  size_t item_bytes;
  std::string member() const { return std::string(name) + ".npy"; }
};

inline constexpr std::array<ColumnFormat, kColumnCount> kColumns = {{{"slots", "<u8", 8},
                                                                     {"values", "<i8", 8},
                                                                     {"written_steps", "<u8", 8},
                                                                     {"hits", "<u4", 4},
                                                                     {"keys", "<f4", 4},
                                                                     {"payload_rows", "<u8", 8},
                                                                     {"payload_places", "<u2", 2},
                                                                     {"payload_steps", "<u8", 8},
                                                                     {"payload_ends", "<u8", 8},
                                                                     {"payload_bytes", "|u1", 1}}};

// How many there are; what the shapes of all columns follow from.
struct ExportCounts {
  uint64_t rows = 0;
  uint64_t key_dim = 0;
  uint64_t payloads = 0;
  uint64_t payload_bytes = 0;

  std::vector<uint64_t> Shape(Column column) const;
  // Without the head of the .npy.
  uint64_t Bytes(Column column) const;
};

// What comes before the numbers in a .npy of version 1.0; a multiple of 64 bytes.
std::string NpyHead(Column column, const std::vector<uint64_t>& shape);
// Reads the head that `bytes` begin with: its size, and the shape. INVALID_ARGUMENT for another version, type
// or order.
absl::Status ReadNpyHead(absl::string_view bytes, Column column, size_t* head_bytes,
                         std::vector<uint64_t>* shape);

}  // namespace evoke::cli
