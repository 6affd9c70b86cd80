#include "client/cli/arrays.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/npy.h"
#include "nlohmann/json.hpp"

namespace evoke::cli {
namespace {

using nlohmann::json;

absl::Status Bad(const std::string& source, absl::string_view what) {
  const bool is_inline = source != "-" && !absl::EndsWith(source, ".npy") && !absl::EndsWith(source, ".json");
  return absl::InvalidArgumentError(absl::StrCat(source == "-" ? "stdin" : is_inline ? "what was given" : source, " ", what));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) return Bad(path, "cannot be read");
  return bytes;
}

absl::StatusOr<json> ReadJson(const std::string& source, std::istream& in) {
  std::string text;
  if (source == "-") {
    text.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  } else if (absl::EndsWith(source, ".json")) {
    absl::StatusOr<std::string> file = ReadFile(source);
    if (!file.ok()) return file.status();
    text = *std::move(file);
  } else {
    text = absl::StartsWith(source, "[") ? source : absl::StrCat("[", source, "]");
  }
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_array() || parsed.empty())
    return Bad(source, "is no list of numbers such as 0.6,0.8 or [[0.6,0.8],[1,0]], and no file that ends in .npy or .json");
  return parsed;
}

// Appends the numbers of type From behind the head.
template <typename From, typename To>
void Append(absl::string_view bytes, std::vector<To>* out) {
  out->reserve(bytes.size() / sizeof(From));
  for (size_t at = 0; at + sizeof(From) <= bytes.size(); at += sizeof(From)) {
    From number;
    std::memcpy(&number, bytes.data() + at, sizeof number);
    out->push_back(static_cast<To>(number));
  }
}

// `types`: two descrs, of From1 and From2. Returns the shape.
template <typename From1, typename From2, typename To>
absl::StatusOr<std::vector<uint64_t>> ReadNpy(const std::string& path, const char* descr1, const char* descr2,
                                              std::vector<To>* out) {
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  const absl::StatusOr<NpyArray> head = ParseNpyHead(*bytes);
  if (!head.ok()) return Bad(path, head.status().message());
  const absl::string_view numbers = absl::string_view(*bytes).substr(head->head_bytes);
  uint64_t count = 1;
  for (const uint64_t extent : head->shape) {
    if (extent == 0 || count > std::numeric_limits<uint32_t>::max() / extent) return Bad(path, "has no numbers, or too many");
    count *= extent;
  }
  if (head->descr == descr1 && numbers.size() == count * sizeof(From1)) {
    Append<From1>(numbers, out);
  } else if (head->descr == descr2 && numbers.size() == count * sizeof(From2)) {
    Append<From2>(numbers, out);
  } else {
    return Bad(path, absl::StrCat("holds ", numbers.size(), " bytes of type ", head->descr, ", expected ", count,
                                  " numbers of type ", descr1, " or ", descr2));
  }
  return head->shape;
}

}  // namespace

absl::StatusOr<FloatRows> ReadRows(const std::string& source, std::istream& in) {
  FloatRows result;
  if (absl::EndsWith(source, ".npy")) {
    const auto shape = ReadNpy<float, double>(source, "<f4", "<f8", &result.numbers);
    if (!shape.ok()) return shape.status();
    if (shape->empty() || shape->size() > 2) return Bad(source, "is no matrix");
    result.dim = static_cast<uint32_t>(shape->back());
    result.rows = static_cast<uint32_t>(result.numbers.size() / result.dim);
    return result;
  }
  absl::StatusOr<json> parsed = ReadJson(source, in);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->front().is_array()) parsed = json::array({*std::move(parsed)});
  for (const json& row : *parsed) {
    if (!row.is_array() || row.empty() || (result.rows > 0 && row.size() != result.dim))
      return Bad(source, absl::StrCat("has a row ", result.rows, " that is not as long as the ones before it, or no row"));
    result.dim = static_cast<uint32_t>(row.size());
    for (const json& number : row) {
      if (!number.is_number()) return Bad(source, absl::StrCat("has something in row ", result.rows, " that is no number"));
      result.numbers.push_back(number.get<float>());
    }
    ++result.rows;
  }
  return result;
}

absl::StatusOr<std::vector<int64_t>> ReadIntegers(const std::string& source, std::istream& in) {
  std::vector<int64_t> result;
  if (absl::EndsWith(source, ".npy")) {
    const auto shape = ReadNpy<int64_t, int32_t>(source, "<i8", "<i4", &result);
    if (!shape.ok()) return shape.status();
    if (shape->size() != 1) return Bad(source, "has not one dimension");
    return result;
  }
  const absl::StatusOr<json> parsed = ReadJson(source, in);
  if (!parsed.ok()) return parsed.status();
  for (const json& number : *parsed) {
    const bool too_large = number.is_number_unsigned() && number.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (!number.is_number_integer() || too_large)
      return Bad(source, absl::StrCat("has something at place ", result.size(), " that is no integer of 64 bits"));
    result.push_back(number.get<int64_t>());
  }
  return result;
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& source, std::istream& in) {
  const absl::StatusOr<json> parsed = ReadJson(source, in);
  if (!parsed.ok()) return parsed.status();
  std::vector<std::string> result;
  for (const json& text : *parsed) {
    if (!text.is_string() && !text.is_null())
      return Bad(source, absl::StrCat("has something at place ", result.size(), " that is no text, and not null"));
    result.push_back(text.is_string() ? text.get<std::string>() : "");
  }
  return result;
}

}  // namespace evoke::cli
