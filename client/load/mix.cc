#include "client/load/mix.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace evoke::load {
namespace {

std::optional<Method> MethodNamed(absl::string_view name) {
  if (name == "query") return Method::kQuery;
  if (name == "update") return Method::kUpdate;
  if (name == "train_step") return Method::kTrainStep;
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Mix> Mix::Parse(absl::string_view text) {
  Weights weights{};
  std::array<bool, kMethodCount> named{};
  double sum = 0;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<std::string> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const std::optional<Method> method = MethodNamed(pair[0]);
    if (!method.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("mix names \"", pair[0], "\", expected query, update or train_step"));
    }
    const size_t index = static_cast<size_t>(*method);
    if (named[index]) return absl::InvalidArgumentError(absl::StrCat("mix names ", pair[0], " twice"));
    named[index] = true;
    double weight = 1;
    if (pair.size() == 2 && (!absl::SimpleAtod(pair[1], &weight) || !std::isfinite(weight) || weight < 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight of ", pair[0], " is \"", pair[1], "\", expected a number >= 0"));
    }
    weights[index] = weight;
    sum += weight;
  }
  if (!(sum > 0)) return absl::InvalidArgumentError("mix has only weights of 0");
  return Mix(weights);
}

Mix::Mix(const Weights& weights) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  double end = 0;
  for (size_t i = 0; i < kMethodCount; ++i) ends_[i] = (end += weights[i]) / sum;
}

Method Mix::At(double uniform) const {
  for (const Method method : kMethods) {
    if (uniform < ends_[static_cast<size_t>(method)]) return method;
  }
  return Method::kTrainStep;  // the last end may be a rounding below 1
}

double Mix::Share(Method method) const {
  const size_t index = static_cast<size_t>(method);
  return ends_[index] - (index == 0 ? 0 : ends_[index - 1]);
}

}  // namespace evoke::load
