#include "client/cli/export_columns.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/npy.h"

namespace evoke::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY\x01\x00", 8);
constexpr size_t kPrefix = 10;  // magic, and the length of the text as u16

std::string HeadText(Column column, absl::string_view shape) {
  return absl::StrCat("{'descr': '", kColumns[column].descr, "', 'fortran_order': False, 'shape': (", shape,
                      "), }");
}

}  // namespace

std::vector<uint64_t> ExportCounts::Shape(Column column) const {
  if (column == kKeys) return {rows, key_dim};
  if (column == kPayloadBytes) return {payload_bytes};
  return {column < kPayloadRows ? rows : payloads};
}

uint64_t ExportCounts::Bytes(Column column) const {
  uint64_t items = 1;
  for (const uint64_t extent : Shape(column)) items *= extent;
  return items * kColumns[column].item_bytes;
}

std::string NpyHead(Column column, const std::vector<uint64_t>& shape) {
  std::string text = HeadText(column, absl::StrCat(absl::StrJoin(shape, ", "), shape.size() == 1 ? "," : ""));
  const size_t padding = (64 - (kPrefix + text.size() + 1) % 64) % 64;
  text.append(padding, ' ').push_back('\n');
  std::string head(kMagic);
  head.push_back(static_cast<char>(text.size() & 0xff));
  head.push_back(static_cast<char>(text.size() >> 8));
  return head + text;
}

absl::Status ReadNpyHead(absl::string_view bytes, Column column, size_t* head_bytes,
                         std::vector<uint64_t>* shape) {
  absl::StatusOr<NpyArray> array = ParseNpyHead(bytes);
  if (!array.ok()) return array.status();
  if (array->descr != kColumns[column].descr) {
    return absl::InvalidArgumentError(
        absl::StrCat("has numbers of type ", array->descr, ", expected ", kColumns[column].descr));
  }
  *head_bytes = array->head_bytes;
  *shape = std::move(array->shape);
  return absl::OkStatus();
}

}  // namespace evoke::cli
