#include "client/load/measurements.h"

#include <utility>

namespace evoke::load {
namespace {

uint64_t Sum(const Measurements& measurements, uint64_t MethodMeasurements::*field) {
  uint64_t sum = 0;
  for (const MethodMeasurements& method : measurements.methods) sum += method.*field;
  return sum;
}

}  // namespace

void Measurements::Add(const Measurements& other) {
  for (size_t i = 0; i < kMethodCount; ++i) {
    methods[i].latency.Add(other.methods[i].latency);
    methods[i].rows += other.methods[i].rows;
    methods[i].failed += other.methods[i].failed;
    methods[i].shed += other.methods[i].shed;
  }
  send_delay.Add(other.send_delay);
  for (const auto& [reason, count] : other.errors) errors[reason] += count;
  retries += other.retries;
  for (size_t i = 0; i < outcomes.size(); ++i) outcomes[i] += other.outcomes[i];
}

LatencyHistogram Measurements::AllLatencies() const {
  LatencyHistogram all;
  for (const MethodMeasurements& method : methods) all.Add(method.latency);
  return all;
}

uint64_t Measurements::calls() const {
  uint64_t sum = 0;
  for (const MethodMeasurements& method : methods) sum += method.latency.count();
  return sum;
}

uint64_t Measurements::rows() const {
  return Sum(*this, &MethodMeasurements::rows);
}
uint64_t Measurements::failed() const {
  return Sum(*this, &MethodMeasurements::failed);
}
uint64_t Measurements::shed() const {
  return Sum(*this, &MethodMeasurements::shed);
}

Measurements Recorder::Take() {
  Measurements fresh;
  absl::MutexLock lock(&mu_);
  std::swap(fresh, current_);
  return fresh;
}

void Recorder::AddTo(Measurements* sum) const {
  absl::MutexLock lock(&mu_);
  sum->Add(current_);
}

}  // namespace evoke::load
