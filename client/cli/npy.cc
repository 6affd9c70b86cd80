#include "client/cli/npy.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace evoke::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY\x01\x00", 8);
constexpr size_t kPrefix = 10;  // and the size of the text behind it

}  // namespace

absl::StatusOr<NpyArray> ParseNpyHead(absl::string_view bytes) {
  const auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(what); };
  if (bytes.size() < kPrefix || !absl::StartsWith(bytes, kMagic)) return bad("is no .npy of version 1.0");
  const size_t size = static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  if (bytes.size() < kPrefix + size) return bad("is cut off in its head");
  NpyArray array;
  array.head_bytes = kPrefix + size;
  // Every writer of numbers in C order spells the text alike, but for spaces and the comma behind the shape.
  std::string text(bytes.substr(kPrefix, size));
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
  constexpr std::string_view kBefore = "{'descr':'", kBetween = "','fortran_order':False,'shape':(";
  const size_t between = text.find(kBetween);
  const size_t end = text.find(')');
  if (!text.starts_with(kBefore) || between == std::string::npos || end == std::string::npos)
    return bad(absl::StrCat("has the head ", text, ", expected numbers in C order"));
  array.descr = text.substr(kBefore.size(), between - kBefore.size());
  const size_t begin = between + kBetween.size();
  for (absl::string_view part : absl::StrSplit(absl::string_view(text).substr(begin, end - begin), ',', absl::SkipEmpty())) {
    uint64_t extent = 0;
    if (!absl::SimpleAtoi(part, &extent)) return bad(absl::StrCat("has the shape of ", text));
    array.shape.push_back(extent);
  }
  return array;
}

}  // namespace evoke::cli
