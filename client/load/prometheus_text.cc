#include "client/load/prometheus_text.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace evoke::load {
namespace {

// Takes `a="b",c="d"}` from the front of `text`; false: it is nothing like that.
bool TakeLabels(absl::string_view* text, Labels* labels) {
  while (!absl::ConsumePrefix(text, "}")) {
    const size_t equals = text->find("=\"");
    if (equals == absl::string_view::npos) return false;
    const std::string name(absl::StripAsciiWhitespace(text->substr(0, equals)));
    text->remove_prefix(equals + 2);
    std::string value;
    for (;; text->remove_prefix(1)) {
      if (text->empty()) return false;
      char c = text->front();
      if (c == '"') break;
      if (c == '\\') {
        text->remove_prefix(1);
        if (text->empty()) return false;
        c = text->front() == 'n' ? '\n' : text->front();
      }
      value.push_back(c);
    }
    text->remove_prefix(1);
    (*labels)[name] = value;
    absl::ConsumePrefix(text, ",");
  }
  return true;
}

bool HasAll(const Labels& have, const Labels& wanted) {
  for (const auto& [name, value] : wanted) {
    const auto it = have.find(name);
    if (it == have.end() || it->second != value) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Scrape> Scrape::Parse(absl::string_view text) {
  Scrape scrape;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::string_view rest = absl::StripAsciiWhitespace(line);
    if (rest.empty() || rest.front() == '#') continue;
    const size_t end = rest.find_first_of("{ \t");
    const std::string name(rest.substr(0, end));
    rest.remove_prefix(std::min(rest.size(), name.size()));
    Sample sample;
    const bool labels_fine = !absl::ConsumePrefix(&rest, "{") || TakeLabels(&rest, &sample.labels);
    rest = absl::StripLeadingAsciiWhitespace(rest);
    if (!labels_fine || !absl::SimpleAtod(rest.substr(0, rest.find_first_of(" \t")), &sample.value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", line, "\" is no sample in Prometheus's text format"));
    }
    scrape.samples_[name].push_back(std::move(sample));
  }
  return scrape;
}

double Scrape::Sum(absl::string_view name, const Labels& labels) const {
  double sum = 0;
  const auto it = samples_.find(name);
  if (it == samples_.end()) return sum;
  for (const Sample& sample : it->second) {
    if (HasAll(sample.labels, labels)) sum += sample.value;
  }
  return sum;
}

bool Scrape::Has(absl::string_view name) const {
  return samples_.find(name) != samples_.end();
}

std::vector<std::string> Scrape::ValuesOf(absl::string_view name, const std::string& label) const {
  std::set<std::string> values;
  const auto it = samples_.find(name);
  if (it == samples_.end()) return {};
  for (const Sample& sample : it->second) {
    const auto found = sample.labels.find(label);
    if (found != sample.labels.end()) values.insert(found->second);
  }
  return {values.begin(), values.end()};
}

}  // namespace evoke::load
