#include "server/engine/shard_set.h"

#include <algorithm>
#include <utility>

#include "server/base/mutex.h"

namespace evoke {
namespace {

// Collects one answer of each of `count` shards; runs `done` with all of them, or with the first error, when the
// last has come.
template <typename T>
class Gather {
 public:
  Gather(size_t count, Shard::Done<std::vector<T>> done) : answers_(count), left_(count), done_(std::move(done)) {}

  void Take(size_t index, absl::StatusOr<T> answer) {
    {
      MutexLock lock(&mu_);
      if (answer.ok()) {
        answers_[index] = *std::move(answer);
      } else if (error_.ok()) {
        error_ = answer.status();
      }
      if (--left_ > 0) return;
    }
    if (error_.ok()) {
      done_(std::move(answers_));
    } else {
      done_(error_);
    }
  }

 private:
  Mutex mu_;
  std::vector<T> answers_;
  size_t left_;
  absl::Status error_;
  Shard::Done<std::vector<T>> done_;
};

struct Nothing {};

}  // namespace

ShardSet::ShardSet(std::vector<std::unique_ptr<Shard>> shards, std::vector<uint32_t> shard_of)
    : shards_(std::move(shards)), shard_of_(std::move(shard_of)) {}

std::vector<uint32_t> ShardSet::RoundRobin(uint32_t partitions, uint32_t shard_count) {
  std::vector<uint32_t> table(partitions);
  for (uint32_t p = 0; p < partitions; ++p) table[p] = p % shard_count;
  return table;
}

void ShardSet::Propose(const ProposeRequest& request, Shard::Done<std::vector<Proposal>> done) {
  auto gather = std::make_shared<Gather<Proposal>>(count(), std::move(done));
  for (size_t s = 0; s < count(); ++s) {
    shards_[s]->Propose(request, [gather, s](absl::StatusOr<Proposal> p) { gather->Take(s, std::move(p)); });
  }
}

void ShardSet::Fetch(const FetchRequest& request, Shard::Done<std::vector<SlotContent>> done) {
  std::vector<FetchRequest> parts(count());
  for (uint64_t slot : request.slots) parts[shard_of_[slot % shard_of_.size()]].slots.push_back(slot);
  auto gather = std::make_shared<Gather<std::vector<SlotContent>>>(
      count(), [done = std::move(done)](absl::StatusOr<std::vector<std::vector<SlotContent>>> answers) {
        if (!answers.ok()) return done(answers.status());
        std::vector<SlotContent> all;
        for (auto& part : *answers) std::move(part.begin(), part.end(), std::back_inserter(all));
        done(std::move(all));
      });
  for (size_t s = 0; s < count(); ++s) {
    if (parts[s].slots.empty()) {
      gather->Take(s, std::vector<SlotContent>());
      continue;
    }
    parts[s].at = request.at;
    shards_[s]->Fetch(std::move(parts[s]),
                      [gather, s](absl::StatusOr<std::vector<SlotContent>> f) { gather->Take(s, std::move(f)); });
  }
}

void ShardSet::ReadValue(const SlotsOfValueRequest& request, Shard::Done<SlotsOfValue> done) {
  auto gather = std::make_shared<Gather<SlotsOfValue>>(
      count(), [request, done = std::move(done)](absl::StatusOr<std::vector<SlotsOfValue>> answers) {
        if (!answers.ok()) return done(answers.status());
        SlotsOfValue all{.count = {.value = request.value}};
        for (SlotsOfValue& part : *answers) {
          std::move(part.slots.begin(), part.slots.end(), std::back_inserter(all.slots));
          all.count.live_slots += part.count.live_slots;
          all.count.observations += part.count.observations;
        }
        std::sort(all.slots.begin(), all.slots.end(), [](const SlotContent& a, const SlotContent& b) {
          return a.state.written_step > b.state.written_step;
        });
        if (all.slots.size() > request.limit) all.slots.resize(request.limit);
        done(std::move(all));
      });
  for (size_t s = 0; s < count(); ++s) {
    shards_[s]->ReadValue(request, [gather, s](absl::StatusOr<SlotsOfValue> v) { gather->Take(s, std::move(v)); });
  }
}

void ShardSet::Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done) {
  auto gather = std::make_shared<Gather<Nothing>>(
      count(), [done = std::move(done)](absl::StatusOr<std::vector<Nothing>> all) { done(all.status()); });
  for (size_t s = 0; s < count(); ++s) {
    shards_[s]->Apply(record, [gather, s](absl::Status status) {
      gather->Take(s, status.ok() ? absl::StatusOr<Nothing>(Nothing()) : absl::StatusOr<Nothing>(status));
    });
  }
}

void ShardSet::Figures(Shard::Done<std::vector<ShardFigures>> done) {
  auto gather = std::make_shared<Gather<ShardFigures>>(count(), std::move(done));
  for (size_t s = 0; s < count(); ++s) {
    shards_[s]->Figures([gather, s](absl::StatusOr<ShardFigures> f) { gather->Take(s, std::move(f)); });
  }
}

void ShardSet::Audit(AuditRequest request, Shard::Done<AuditAnswer> done) {
  Shard& shard = *shards_[shard_of_[request.partition.value]];
  shard.Audit(std::move(request), std::move(done));
}

}  // namespace evoke
