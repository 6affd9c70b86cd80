#include "server/engine/local_shard.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/index/index_factory.h"
#include "server/similarity/similarity.h"

namespace evoke {
namespace {

constexpr uint32_t kNone = AgeOrder::kNone;
static_assert(ValueIndex::kNone == kNone && FreeSlots::kNone == kNone);
constexpr uint32_t kSampledSteps = 256;  // as shard.h says

}  // namespace

absl::StatusOr<std::unique_ptr<LocalShard>> LocalShard::Create(Options options) {
  EVOKE_ASSIGN_OR_RETURN(ShardState state, ShardState::Create(options.spec, options.uid, options.partitions));
  IndexOptions index_options{.dim = options.spec.key_dim, .capacity = state.map().capacity(),
                             .device = options.device, .make_device = options.make_device,
                             .on_device_search = options.on_device_search};
  if (options.width > 1) {
    index_options.parallel = [scheduler = options.scheduler, width = options.width](
                                 size_t count, const std::function<void(size_t)>& body) {
      ParallelFor(scheduler, width, count, body);
    };
  }
  EVOKE_ASSIGN_OR_RETURN(std::unique_ptr<Index> index, CreateIndex(options.index, index_options));
  return std::unique_ptr<LocalShard>(new LocalShard(std::move(state), std::move(index), options.scheduler));
}

LocalShard::LocalShard(ShardState state, std::unique_ptr<Index> index, Scheduler* scheduler)
    : state_(std::move(state)), index_(std::move(index)), strand_(scheduler) {}

absl::Status LocalShard::Load(SlotId slot, int64_t value, Step written_step, uint32_t hits,
                              absl::Span<const float> key) {
  return state_.Load(slot, value, written_step, hits, key);
}

void LocalShard::FinishLoad(Turn turn, Epoch epoch) {
  state_.FinishLoad(turn, epoch);
  index_->Rebuild(Keys());
}

// `done` comes last in each task: it may destroy the shard.
void LocalShard::Propose(ProposeRequest request, Done<Proposal> done) {
  const bool searches = !request.wants.empty();
  auto work = [this, request = std::move(request), done = std::move(done)] { done(DoPropose(request)); };
  searches ? strand_.PostLast(std::move(work)) : strand_.Post(std::move(work));
}

void LocalShard::Fetch(FetchRequest request, Done<std::vector<SlotContent>> done) {
  strand_.Post([this, request = std::move(request), done = std::move(done)] { done(DoFetch(request)); });
}

void LocalShard::ReadValue(SlotsOfValueRequest request, Done<SlotsOfValue> done) {
  strand_.Post([this, request, done = std::move(done)] { done(DoReadValue(request)); });
}

void LocalShard::Apply(std::shared_ptr<const TurnRecord> record, std::function<void(absl::Status)> done) {
  strand_.Post([this, record = std::move(record), done = std::move(done)] { done(DoApply(*record)); });
}

void LocalShard::Figures(Done<ShardFigures> done) {
  strand_.Post([this, done = std::move(done)] {
    recall_.Grant();  // figures are asked for about once a second while there are turns
    done(DoFigures());
  });
}

void LocalShard::Audit(AuditRequest request, Done<AuditAnswer> done) {
  strand_.Post([this, request = std::move(request), done = std::move(done)] { done(DoAudit(request)); });
}

absl::Status LocalShard::CheckReadPoint(const ReadPoint& at) const {
  if (at.uid == state_.uid() && at.epoch == state_.epoch() && at.turn == state_.turn())
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("shard holds memory ", state_.uid().ToString(), " at epoch ", state_.epoch().value,
                   ", turn ", state_.turn().value, "; the request reads ", at.uid.ToString(), " at epoch ",
                   at.epoch.value, ", turn ", at.turn.value));
}

absl::StatusOr<Proposal> LocalShard::DoPropose(const ProposeRequest& request) {
  EVOKE_RETURN_IF_ERROR(CheckReadPoint(request.at));
  for (const RowWant& want : request.wants) {
    if (request.rows == nullptr || request.rows->dim != table().dim() || want.row >= request.rows->count()) {
      return absl::InvalidArgumentError(absl::StrCat("row ", want.row, " of ", table().dim(),
                                                     " dimensions is not among the rows of the request"));
    }
  }
  Proposal proposal;
  proposal.rows.resize(request.wants.size());
  SearchNeighbors(request, &proposal);
  NewestOfLabel(request, &proposal);

  const AgeOrder& ages = state_.slots().ages();
  uint32_t position = ages.oldest();
  for (; position != kNone && proposal.oldest.size() < request.oldest; position = ages.Next(position)) {
    proposal.oldest.push_back(state_.StateOf(position));
  }
  proposal.oldest_complete = position == kNone;

  const FreeSlots& free = state_.slots().free();
  uint32_t next = free.Next(0);
  for (; next != kNone && proposal.free_slots.size() < request.free; next = free.Next(next + 1)) {
    proposal.free_slots.push_back(state_.map().SlotAt(next));
  }
  proposal.free_complete = next == kNone;

  proposal.live_count = table().live_count();
  for (const int64_t value : request.count_values) {
    const ValueIndex::Entry entry = state_.slots().values().Find(value);
    proposal.counts.push_back({value, entry.live_slots, entry.observations});
  }
  return proposal;
}

void LocalShard::SearchNeighbors(const ProposeRequest& request, Proposal* proposal) {
  const uint32_t dim = table().dim();
  std::vector<uint32_t> wanted;
  std::vector<size_t> searched;  // places in `wants`
  bool in_a_row = true;          // what is searched lies together in the request, as it does at the first time
  for (size_t i = 0; i < request.wants.size(); ++i) {
    const RowWant& want = request.wants[i];
    if (want.neighbors == 0 || table().live_count() == 0) {
      // Every similarity is below infinity, so all live slots come after this.
      if (table().live_count() > 0) {
        proposal->rows[i].bound = {Bound::Kind::kRank, {std::numeric_limits<float>::infinity(), 0}};
      }
      continue;
    }
    if (!searched.empty()) in_a_row &= want.row == request.wants[searched.back()].row + 1;
    wanted.push_back(want.neighbors);
    searched.push_back(i);
  }
  if (searched.empty()) return;
  const float* rows = request.rows->row(request.wants[searched.front()].row);
  std::vector<float> gathered;
  for (size_t n = 0; !in_a_row && n < searched.size(); ++n) {
    const float* row = request.rows->row(request.wants[searched[n]].row);
    gathered.insert(gathered.end(), row, row + dim);
  }
  if (!in_a_row) rows = gathered.data();
  const std::vector<SearchResult> results = index_->Search(Keys(), rows, wanted);
  searched_rows_ += results.size();
  if (recall_.Looks()) recall_.Look(Keys(), rows, results);
  for (size_t n = 0; n < searched.size(); ++n) {
    const SearchResult& result = results[n];
    RowProposal& row = proposal->rows[searched[n]];
    row.neighbors.reserve(result.candidates.size());
    for (const Candidate& c : result.candidates)
      row.neighbors.push_back(state_.Scored(c.position, c.similarity));
    const size_t keys = std::min<size_t>(request.wants[searched[n]].keys, result.candidates.size());
    row.keys.resize(keys * dim);
    for (size_t i = 0; i < keys; ++i) table().ReadKey(result.candidates[i].position, row.keys.data() + i * dim);
    switch (result.bound) {
      case SearchResult::Bound::kComplete:
        row.bound = {Bound::Kind::kComplete, {}};
        break;
      case SearchResult::Bound::kLast:
        row.bound = {Bound::Kind::kRank, row.neighbors.back().rank()};
        break;
      case SearchResult::Bound::kUnproven:
        row.bound = {Bound::Kind::kUnproven, {}};
        break;
    }
  }
}

void LocalShard::NewestOfLabel(const ProposeRequest& request, Proposal* proposal) const {
  const ValueIndex& values = state_.slots().values();
  std::vector<float> key(table().dim());
  for (size_t i = 0; i < request.wants.size(); ++i) {
    const RowWant& want = request.wants[i];
    if (!want.label) continue;
    RowProposal& row = proposal->rows[i];
    uint32_t position = values.Find(*want.label).newest;
    for (; position != kNone && row.of_label.size() < want.of_label; position = values.Older(position)) {
      table().ReadKey(position, key.data());
      const float similarity =
          Similarity(request.rows->row(want.row), key.data(), static_cast<int>(table().dim()));
      row.of_label.push_back(state_.Scored(position, similarity));
    }
    row.of_label_complete = position == kNone;
  }
}

absl::StatusOr<std::vector<SlotContent>> LocalShard::DoFetch(const FetchRequest& request) const {
  EVOKE_RETURN_IF_ERROR(CheckReadPoint(request.at));
  std::vector<SlotContent> contents;
  for (const uint64_t slot : request.slots) {
    if (!state_.map().Owns(slot)) {
      return absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not one of this shard's"));
    }
    const uint32_t position = state_.map().PositionOf(slot);
    if (table().IsLive(position)) contents.push_back(ContentOf(position, /*with_key=*/true));
  }
  return contents;
}

absl::StatusOr<SlotsOfValue> LocalShard::DoReadValue(const SlotsOfValueRequest& request) const {
  EVOKE_RETURN_IF_ERROR(CheckReadPoint(request.at));
  SlotsOfValue answer;
  const ValueIndex::Entry entry = state_.slots().values().Find(request.value);
  answer.count = {request.value, entry.live_slots, entry.observations};
  for (uint32_t position = entry.newest; position != kNone && answer.slots.size() < request.limit;
       position = state_.slots().values().Older(position)) {
    answer.slots.push_back(ContentOf(position, request.keys));
  }
  return answer;
}

absl::Status LocalShard::DoApply(const TurnRecord& record) {
  ShardState::Changes changes;
  EVOKE_RETURN_IF_ERROR(state_.Apply(record, &changes));
  if (changes.cleared) index_->Rebuild(Keys());
  index_->Erase(changes.freed);
  index_->Upsert(Keys(), changes.written);
  written_slots_ += changes.written.size();
  return absl::OkStatus();
}

ShardFigures LocalShard::DoFigures() const {
  ShardFigures figures{.turn = state_.turn(),
                       .live_count = table().live_count(),
                       .capacity = state_.map().capacity(),
                       .memory_bytes = state_.slots().MemoryBytes() + index_->MemoryBytes(),
                       .uncertified_rows = index_->stats().uncertified_rows,
                       .searched_rows = searched_rows_,
                       .written_slots = written_slots_,
                       .recall_found = recall_.found(),
                       .recall_missed = recall_.missed(),
                       .distinct_values = state_.slots().values().distinct_values(),
                       .device = index_->device().device,
                       .device_bytes = index_->device().bytes,
                       .degraded = std::string(index_->degraded())};
  // An even stride over positions: no pass over all slots, and equal states give equal samples.
  const uint64_t stride = (uint64_t{table().rows()} + kSampledSteps - 1) / kSampledSteps;
  for (uint64_t position = 0; position < table().rows(); position += stride) {
    const auto p = static_cast<uint32_t>(position);
    if (table().IsLive(p)) figures.sampled_steps.push_back(table().written_step(p));
  }
  std::sort(figures.sampled_steps.begin(), figures.sampled_steps.end());
  return figures;
}

absl::StatusOr<AuditAnswer> LocalShard::DoAudit(const AuditRequest& request) {
  EVOKE_RETURN_IF_ERROR(CheckReadPoint(request.at));
  AuditAnswer answer{.looked = true};
  const uint64_t partitions = state_.map().partition_count();
  std::vector<uint32_t> positions;
  auto row = request.rows ? request.rows->begin() : std::vector<SlotContent>::const_iterator();
  for (uint64_t block = request.first_block; block < request.first_block + request.blocks; ++block) {
    const uint64_t slot = block * partitions + request.partition.value;
    if (!state_.map().Owns(slot)) return absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not here"));
    const uint32_t position = state_.map().PositionOf(slot);
    positions.push_back(position);
    if (!request.rows) continue;
    const bool stored = row != request.rows->end() && row->state.slot == slot;
    if (stored ? !Holds(position, *row) : table().IsLive(position)) answer.store_differs.push_back(slot);
    if (stored) ++row;
  }
  for (const uint32_t position : index_->Verify(Keys(), positions)) {
    answer.index_differs.push_back(state_.map().SlotAt(position));
    if (table().IsLive(position)) {
      index_->Upsert(Keys(), {&position, 1});
    } else {
      index_->Erase({&position, 1});
    }
  }
  return answer;
}

// Bits, not numbers: -0 is not 0 here.
bool LocalShard::Holds(uint32_t position, const SlotContent& row) const {
  if (!table().IsLive(position)) return false;
  const SlotFields f = table().fields(position);
  const std::vector<float> key = table().CopyKey(position);
  return f.value == row.state.value && f.written_step == row.state.written_step && f.hits == row.state.hits &&
         key.size() == row.key.size() && std::memcmp(key.data(), row.key.data(), key.size() * sizeof(float)) == 0;
}

SlotContent LocalShard::ContentOf(uint32_t position, bool with_key) const {
  SlotContent content{.state = state_.StateOf(position)};
  if (with_key) content.key = table().CopyKey(position);
  return content;
}

KeyMatrixView LocalShard::Keys() const {
  return {.planes = table().keys(),
          .dim = table().dim(),
          .rows = table().rows(),
          .live = table().live_words(),
          .live_count = table().live_count()};
}

}  // namespace evoke
