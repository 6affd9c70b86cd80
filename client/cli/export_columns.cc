#include "client/cli/export_columns.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

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
  const auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(what); };
  if (bytes.size() < kPrefix || !absl::StartsWith(bytes, kMagic)) return bad("is no .npy of version 1.0");
  const size_t size = static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  if (bytes.size() < kPrefix + size) return bad("is cut off in its head");
  *head_bytes = kPrefix + size;
  // Every writer of numbers in C order spells the text alike, but for spaces and the comma behind the shape.
  std::string text(bytes.substr(kPrefix, size));
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
  const std::string before =
      absl::StrCat("{'descr':'", kColumns[column].descr, "','fortran_order':False,'shape':(");
  const size_t end = text.find(')');
  if (!absl::StartsWith(text, before) || end == std::string::npos) {
    return bad(absl::StrCat("has the head ", text, ", expected ", kColumns[column].descr, " in C order"));
  }
  shape->clear();
  for (absl::string_view part :
       absl::StrSplit(text.substr(before.size(), end - before.size()), ',', absl::SkipEmpty())) {
    uint64_t extent = 0;
    if (!absl::SimpleAtoi(part, &extent)) return bad(absl::StrCat("has the shape of ", text));
    shape->push_back(extent);
  }
  return absl::OkStatus();
}

}  // namespace evoke::cli
