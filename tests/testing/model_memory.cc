#include "tests/testing/model_memory.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <set>

namespace evoke::testing {
namespace {

// Section 1 writes records in little-endian order, whatever the machine.
void AppendLittleEndian(std::string& out, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(number >> (8 * i));
}

uint32_t BitsOf(float f) {
  static_assert(sizeof(float) == sizeof(uint32_t));
  uint32_t bits;
  std::copy_n(reinterpret_cast<const char*>(&f), sizeof f, reinterpret_cast<char*>(&bits));
  return bits;
}

bool IsLegal(const std::vector<float>& x, int key_dim) {
  if (x.size() != static_cast<size_t>(key_dim)) return false;
  for (float c : x) {
    if (!std::isfinite(c)) return false;
  }
  const float norm = ModelNorm(x);
  return norm >= 1e-12f && norm <= 1e18f;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "ModelMemory: %s\n", what);
  std::abort();
}

// Section 4: through normalisation of x with norm n, (g - q (q.g)) / n.
std::vector<double> ThroughNormalisation(const std::vector<double>& g, const std::vector<float>& q,
                                         float norm) {
  double along = 0;
  for (size_t e = 0; e < g.size(); ++e) along += double{q[e]} * g[e];
  std::vector<double> result;
  for (size_t e = 0; e < g.size(); ++e) result.push_back((g[e] - q[e] * along) / norm);
  return result;
}

}  // namespace

const char* ToString(Outcome outcome) {
  static constexpr const char* kNames[] = {"none", "hit", "merged", "folded", "free", "evict", "dropped"};
  return kNames[static_cast<int>(outcome)];
}

// Section 2: similarity.

float ModelSimilarity(const std::vector<float>& a, const std::vector<float>& b) {
  float s[16] = {};
  const size_t padded = (a.size() + 15) / 16 * 16;
  for (size_t e = 0; e < padded; ++e) {
    s[e % 16] = e < a.size() ? std::fmaf(a[e], b[e], s[e % 16]) : std::fmaf(0.0f, 0.0f, s[e % 16]);
  }
  for (int l = 0; l < 8; ++l) s[l] = s[l] + s[l + 8];
  for (int l = 0; l < 4; ++l) s[l] = s[l] + s[l + 4];
  for (int l = 0; l < 2; ++l) s[l] = s[l] + s[l + 2];
  return s[0] + s[1];
}

float ModelNorm(const std::vector<float>& x) {
  return std::sqrt(ModelSimilarity(x, x));
}

std::vector<float> ModelNormalise(const std::vector<float>& x) {
  const float norm = ModelNorm(x);
  std::vector<float> unit;
  for (float c : x) unit.push_back(c / norm);
  return unit;
}

uint32_t ModelNoise(uint64_t seed, uint64_t step, uint64_t slot) {
  std::string bytes;
  AppendLittleEndian(bytes, step, 8);
  AppendLittleEndian(bytes, slot, 8);
  return static_cast<uint32_t>(XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed) >> 32);
}

// Section 1: state.

ModelMemory::ModelMemory(ModelSpec spec) : spec_(spec), slots_(spec.capacity) {}

uint64_t ModelMemory::live() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const ModelSlot& s) { return s.live; });
}

Hash128 ModelMemory::StateHash() const {
  Hash128 sum;
  for (uint64_t i = 0; i < slots_.size(); ++i) {
    const ModelSlot& s = slots_[i];
    if (!s.live) continue;
    std::string record;
    AppendLittleEndian(record, i, 8);
    AppendLittleEndian(record, static_cast<uint64_t>(s.value), 8);
    AppendLittleEndian(record, s.written_step, 8);
    AppendLittleEndian(record, s.hits, 4);
    AppendLittleEndian(record, 0, 4);
    for (float c : s.key) AppendLittleEndian(record, BitsOf(c), 4);
    const XXH128_hash_t hash = XXH3_128bits(record.data(), record.size());
    sum += Hash128{.low = hash.low64, .high = hash.high64};
  }
  return sum;
}

std::vector<uint64_t> ModelMemory::SlotsOfValue(int64_t value) const {
  std::vector<uint64_t> found;
  for (uint64_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].live && slots_[i].value == value) found.push_back(i);
  }
  std::sort(found.begin(), found.end(),
            [&](uint64_t a, uint64_t b) { return slots_[a].written_step > slots_[b].written_step; });
  return found;
}

std::vector<std::pair<uint64_t, std::string>> ModelMemory::Payloads(uint64_t slot) const {
  std::vector<std::pair<uint64_t, std::string>> kept;
  for (const auto& payload : slots_[slot].payloads) {
    if (!payload.second.empty()) kept.push_back(payload);
  }
  return kept;
}

void ModelMemory::Clear() {
  slots_.assign(slots_.size(), ModelSlot{});
}

// Section 3: query.

bool ModelMemory::Accepts(const std::vector<ModelRow>& rows) const {
  return std::all_of(rows.begin(), rows.end(),
                     [&](const ModelRow& row) { return row.skip || IsLegal(row.x, spec_.key_dim); });
}

std::vector<ModelNeighbor> ModelMemory::Query(const std::vector<float>& x, int k) const {
  return Query(x, k, spec_.inverse_temperature);
}

std::vector<ModelNeighbor> ModelMemory::Query(const std::vector<float>& x, int k,
                                              double inverse_temperature) const {
  Require(IsLegal(x, spec_.key_dim), "illegal query");
  return Neighbors(ModelNormalise(x), k, inverse_temperature);
}

std::vector<ModelNeighbor> ModelMemory::Neighbors(const std::vector<float>& q, int k,
                                                  double inverse_temperature) const {
  std::vector<ModelNeighbor> all;
  for (uint64_t i = 0; i < slots_.size(); ++i) {
    const ModelSlot& s = slots_[i];
    if (!s.live) continue;
    all.push_back({.slot = i,
                   .value = s.value,
                   .similarity = ModelSimilarity(q, s.key),
                   .age = step_ - s.written_step,
                   .key = s.key});
  }
  std::sort(all.begin(), all.end(), [](const ModelNeighbor& a, const ModelNeighbor& b) {
    return a.similarity > b.similarity || (a.similarity == b.similarity && a.slot < b.slot);
  });
  if (all.size() > static_cast<size_t>(k)) all.resize(k);

  double sum = 0;
  for (ModelNeighbor& n : all) {
    n.weight = std::exp(inverse_temperature * (double{n.similarity} - double{all[0].similarity}));
    sum += n.weight;
  }
  for (ModelNeighbor& n : all) n.weight /= sum;
  return all;
}

// Section 4: answer, loss, gradients.

ModelResult ModelMemory::Score(const std::vector<ModelNeighbor>& neighbors, const std::vector<float>& q,
                               float norm, int64_t value) const {
  const size_t d = spec_.key_dim;
  ModelResult r;
  r.positive_key.assign(d, 0);
  r.negative_key.assign(d, 0);
  if (!neighbors.empty()) {
    r.answered = true;
    r.value = neighbors[0].value;
    r.confidence = neighbors[0].weight;
  }

  float positive = 0;
  float negative = 0;
  for (const ModelNeighbor& n : neighbors) {
    if (n.value == value && !r.positive_found) {
      r.positive_found = true;
      positive = n.similarity;
      r.positive_key = n.key;
    }
    if (n.value != value && !r.negative_found) {
      r.negative_found = true;
      negative = n.similarity;
      r.negative_key = n.key;
    }
  }
  if (!r.positive_found && !SlotsOfValue(value).empty()) {  // the fallback: most recently written
    r.positive_found = true;
    r.positive_key = slots_[SlotsOfValue(value)[0]].key;
    positive = ModelSimilarity(q, r.positive_key);
  }
  if (r.positive_found || r.negative_found) {
    const float hinge = (negative - positive) + spec_.margin;
    r.loss = hinge > 0 ? hinge : 0;
  }

  std::vector<double> loss_by_q(d, 0);
  std::vector<double> confidence_by_q(d, 0);
  for (size_t e = 0; e < d; ++e) {
    if (r.loss > 0) loss_by_q[e] = double{r.negative_key[e]} - double{r.positive_key[e]};
    for (size_t j = 1; j < neighbors.size(); ++j) {
      confidence_by_q[e] += neighbors[j].weight * (double{neighbors[0].key[e]} - double{neighbors[j].key[e]});
    }
    if (r.answered) confidence_by_q[e] *= spec_.inverse_temperature * neighbors[0].weight;
  }
  r.loss_gradient = ThroughNormalisation(loss_by_q, q, norm);
  r.confidence_gradient = ThroughNormalisation(confidence_by_q, q, norm);
  return r;
}

// Section 5: update.

std::vector<ModelResult> ModelMemory::Train(const std::vector<ModelRow>& rows) {
  Require(Accepts(rows), "illegal row");
  if (!spec_.sequential) return TrainAtomic(rows);
  std::vector<ModelResult> results;  // SEQUENTIAL: one-row batches in order
  for (const ModelRow& row : rows) results.push_back(TrainAtomic({row})[0]);
  return results;
}

std::vector<ModelResult> ModelMemory::TrainAtomic(const std::vector<ModelRow>& rows) {
  std::vector<ModelResult> results(rows.size());
  std::vector<std::vector<float>> q(rows.size());
  std::vector<uint64_t> own_step(rows.size(), 0);
  std::vector<std::optional<uint64_t>> reinforced(rows.size());  // by a hit or a merge
  std::set<uint64_t> h;                                          // the slots of all of them: H
  uint64_t next_step = step_;

  // (1) Results, and hit, merge or miss, from the state before the batch.
  for (size_t j = 0; j < rows.size(); ++j) {
    ModelResult& r = results[j];
    if (rows[j].skip) {
      r.positive_key.assign(spec_.key_dim, 0);
      r.negative_key.assign(spec_.key_dim, 0);
      r.loss_gradient.assign(spec_.key_dim, 0);
      r.confidence_gradient.assign(spec_.key_dim, 0);
      continue;
    }
    q[j] = ModelNormalise(rows[j].x);
    const auto neighbors = Neighbors(q[j], spec_.choose_k, spec_.inverse_temperature);
    r = Score(neighbors, q[j], ModelNorm(rows[j].x), rows[j].value);
    if (!rows[j].write) continue;

    own_step[j] = ++next_step;
    if (!neighbors.empty() && neighbors[0].value == rows[j].value) {
      r.outcome = Outcome::kHit;
      reinforced[j] = neighbors[0].slot;
    } else if (spec_.merge_on_miss) {
      for (const ModelNeighbor& n : neighbors) {
        if (n.value != rows[j].value) continue;
        if (n.similarity >= *spec_.merge_on_miss) {
          r.outcome = Outcome::kMerged;
          reinforced[j] = n.slot;
        }
        break;  // only the first neighbor of the value counts
      }
    }
    if (reinforced[j]) h.insert(*reinforced[j]);
  }

  // (2) Hits and merges, in item order.
  for (size_t j = 0; j < rows.size(); ++j) {
    if (!reinforced[j]) continue;
    results[j].slot = *reinforced[j];
    Reinforce(*reinforced[j], q[j], own_step[j], rows[j].payload);
  }

  // (3) The remaining misses, in item order: fold, else the lowest free slot, else evict, else dropped.
  std::vector<uint64_t> taken;  // by misses of this batch, in item order
  for (size_t j = 0; j < rows.size(); ++j) {
    if (own_step[j] == 0 || reinforced[j]) continue;
    ModelResult& r = results[j];

    if (spec_.fold_misses) {
      for (uint64_t i : taken) {
        if (slots_[i].value == rows[j].value && ModelSimilarity(q[j], slots_[i].key) >= *spec_.fold_misses) {
          r.outcome = Outcome::kFolded;
          r.slot = i;
          Reinforce(i, q[j], own_step[j], rows[j].payload);
          break;
        }
      }
      if (r.outcome == Outcome::kFolded) continue;
    }

    for (uint64_t i = 0; i < slots_.size() && r.slot == kNoSlot; ++i) {
      if (slots_[i].live) continue;
      r.outcome = Outcome::kFree;
      r.slot = i;
    }

    if (r.slot == kNoSlot) {
      unsigned __int128 oldest = 0;
      for (uint64_t i = 0; i < slots_.size(); ++i) {
        if (h.count(i) > 0 || std::count(taken.begin(), taken.end(), i) > 0) continue;
        const uint64_t age = own_step[j] - slots_[i].written_step;
        const unsigned __int128 noisy_age =
            (static_cast<unsigned __int128>(age) << 32) +
            static_cast<unsigned __int128>(spec_.age_noise) * ModelNoise(spec_.seed, own_step[j], i);
        if (r.slot != kNoSlot && noisy_age <= oldest) continue;  // ties: the lower slot id
        oldest = noisy_age;
        r.outcome = Outcome::kEvict;
        r.slot = i;
        r.evicted_age = age;
      }
    }

    if (r.slot == kNoSlot) {
      r.outcome = Outcome::kDropped;
      continue;
    }
    Write(r.slot, q[j], rows[j].value, own_step[j], rows[j].payload);
    taken.push_back(r.slot);
  }

  step_ = next_step;
  return results;
}

void ModelMemory::Reinforce(uint64_t slot, const std::vector<float>& q, uint64_t step,
                            const std::string& payload) {
  ModelSlot& s = slots_[slot];
  std::vector<float> sum;
  for (size_t e = 0; e < q.size(); ++e) sum.push_back(s.key[e] + q[e]);
  s.key = ModelNorm(sum) < 1e-6f ? q : ModelNormalise(sum);
  s.written_step = step;
  if (s.hits < std::numeric_limits<uint32_t>::max()) ++s.hits;
  // The first payload stays; of those of hits, the latest payload_history - 1.
  if (spec_.payload_history < 2) return;
  s.payloads.push_back({step, payload});
  if (s.payloads.size() > static_cast<size_t>(spec_.payload_history))
    s.payloads.erase(s.payloads.begin() + 1);
}

void ModelMemory::Write(uint64_t slot, const std::vector<float>& q, int64_t value, uint64_t step,
                        const std::string& payload) {
  slots_[slot] = {.live = true, .key = q, .value = value, .written_step = step, .hits = 0, .payloads = {}};
  if (spec_.payload_history >= 1) slots_[slot].payloads.push_back({step, payload});
}

}  // namespace evoke::testing
