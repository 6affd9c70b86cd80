#include "server/index/gpu/faiss_keys.h"

#include <faiss/gpu/GpuDistance.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/index/gpu/row_copies.h"
#include "server/index/list_merger.h"

namespace evoke {
namespace {

constexpr uint64_t kAlignment = 256;

uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t PositionsAt(size_t entries) { return Aligned(entries * sizeof(float)); }

// FAISS 1.7.3 counts the components of a matrix in an int, with some room left for what it adds.
constexpr uint64_t kPartComponents = uint64_t{1} << 30;

// What a buffer that is made anew is made for: batches differ in size, and each new buffer costs a wait.
uint64_t Ample(uint64_t bytes) { return std::bit_ceil(std::max<uint64_t>(bytes, 1 << 16)); }

// So many rows of a search that FAISS's temporary memory holds what it makes of them, twice for its two streams: a tile of
// scores, and the best of each tile. (chooseTileSize in FAISS's DistanceUtils.cuh: tiles of 512 rows that would be 512 MiB
// of keys' components; up to 32 dimensions of 1,024 rows.)
size_t RowsAtOnce(uint32_t keys, uint32_t ask, uint32_t dim, KeyFormat format) {
  const uint64_t tile_rows = dim <= 32 ? 1024 : 512;
  const uint64_t tile_keys = std::min<uint64_t>((uint64_t{1} << 29) / ComponentBytes(format) / tile_rows, keys);
  const uint64_t tiles = (keys + tile_keys - 1) / tile_keys;
  const uint64_t of_row = 2 * (tile_keys * sizeof(float) + tiles * ask * (sizeof(float) + sizeof(int64_t)));
  return std::clamp<uint64_t>(FaissDevice::kTemporaryBytes / 8 * 7 / of_row, 1, tile_rows);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FaissKeys>> FaissKeys::Create(const Options& options) {
  EVOKE_ASSIGN_OR_RETURN(FaissDevice* const faiss, FaissDevice::Of(options.device));
  auto keys = std::unique_ptr<FaissKeys>(new FaissKeys(faiss, options));
  const DeviceScope scope(options.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  for (Staging& staging : keys->staging_) EVOKE_RETURN_IF_ERROR(staging.copied.Create());
  EVOKE_RETURN_IF_ERROR(keys->answered_.Create());
  return keys;
}

FaissKeys::FaissKeys(FaissDevice* faiss, const Options& options)
    : faiss_(faiss), options_(options), row_bytes_(size_t{options.dim} * ComponentBytes(options.format)) {}

// What is in the stream still reads and writes what the members give back.
FaissKeys::~FaissKeys() {
  const DeviceScope scope(options_.device);
  const bool works = scope.status().ok() && faiss_->stream().Synchronize().ok();
  // On a device that is lost it would throw in its own destructor.
  if (!works) (void)flat_.release();
  for (DeviceBuffer* buffer : {&keys_, &staged_, &scores_, &positions_}) buffer->Free();
}

absl::Status FaissKeys::Grow(uint64_t rows) {
  const DeviceScope scope(options_.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  const uint64_t before = keys_.size_bytes();
  EVOKE_RETURN_IF_ERROR(keys_.Grow(rows * row_bytes_, faiss_->stream()));
  if (keys_.size_bytes() == before) return absl::OkStatus();
  return CudaStatus(
      cudaMemsetAsync(keys_.as<uint8_t>() + before, 0, keys_.size_bytes() - before, faiss_->stream().get()),
      "clearing new rows");
}

void FaissKeys::Clear() {
  const DeviceScope scope(options_.device);
  if (scope.status().ok() && faiss_->stream().Synchronize().ok()) {
    flat_.reset();
  } else {
    (void)flat_.release();
  }
  keys_.Free();
  changed_ = true;
}

absl::StatusOr<uint8_t*> FaissKeys::Stage(size_t rows) {
  const DeviceScope scope(options_.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  turn_ ^= 1;
  staged_rows_ = rows;
  Staging& staging = staging_[turn_];
  EVOKE_RETURN_IF_ERROR(staging.copied.Wait());
  // Positions come behind the rows.
  EVOKE_RETURN_IF_ERROR(staging.buffer.Reserve(Ample(Aligned(rows * row_bytes_) + rows * sizeof(uint32_t))));
  return staging.buffer.as<uint8_t>();
}

absl::Status FaissKeys::CopyToDevice(uint64_t bytes) {
  Staging& staging = staging_[turn_];
  EVOKE_RETURN_IF_ERROR(staged_.Reserve(Ample(bytes), faiss_->stream()));
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(staged_.as<void>(), staging.buffer.as<void>(), bytes,
                                                   cudaMemcpyHostToDevice, faiss_->stream().get()),
                                   "copying to the device"));
  return staging.copied.Record(faiss_->stream());
}

absl::Status FaissKeys::Put(absl::Span<const uint32_t> positions) {
  const DeviceScope scope(options_.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  EVOKE_CHECK(positions.size() == staged_rows_);
  const uint64_t behind = Aligned(positions.size() * row_bytes_);
  const uint64_t position_bytes = positions.size() * sizeof(uint32_t);
  std::memcpy(staging_[turn_].buffer.as<uint8_t>() + behind, positions.data(), position_bytes);
  EVOKE_RETURN_IF_ERROR(CopyToDevice(behind + position_bytes));
  changed_ = true;
  return ScatterRows({.matrix = keys_.as<void>(),
                      .rows = staged_.as<void>(),
                      .positions = reinterpret_cast<const uint32_t*>(staged_.as<uint8_t>() + behind),
                      .count = static_cast<uint32_t>(positions.size()),
                      .row_bytes = static_cast<uint32_t>(row_bytes_)},
                     faiss_->stream());
}

absl::Status FaissKeys::Get(absl::Span<const uint32_t> positions, uint8_t* rows) {
  if (positions.empty()) return absl::OkStatus();
  const uint64_t bytes = positions.size() * row_bytes_;
  const uint64_t behind = Aligned(bytes);
  EVOKE_ASSIGN_OR_RETURN(uint8_t* const staged, Stage(positions.size()));
  const DeviceScope scope(options_.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  std::memset(staged, 0, bytes);  // only the positions are read; rows come to lie there
  std::memcpy(staged + behind, positions.data(), positions.size() * sizeof(uint32_t));
  EVOKE_RETURN_IF_ERROR(CopyToDevice(behind + positions.size() * sizeof(uint32_t)));
  EVOKE_RETURN_IF_ERROR(GatherRows({.matrix = keys_.as<void>(),
                                    .rows = staged_.as<void>(),
                                    .positions = reinterpret_cast<const uint32_t*>(staged_.as<uint8_t>() + behind),
                                    .count = static_cast<uint32_t>(positions.size()),
                                    .row_bytes = static_cast<uint32_t>(row_bytes_)},
                                   faiss_->stream()));
  EVOKE_RETURN_IF_ERROR(answers_.Reserve(Ample(bytes)));
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(answers_.as<void>(), staged_.as<void>(), bytes,
                                                   cudaMemcpyDeviceToHost, faiss_->stream().get()),
                                   "copying from the device"));
  EVOKE_RETURN_IF_ERROR(answered_.Record(faiss_->stream()));
  EVOKE_RETURN_IF_ERROR(answered_.Wait());
  std::memcpy(rows, answers_.as<uint8_t>(), bytes);
  return absl::OkStatus();
}

// Keys are searched in parts that FAISS can count, and the lists of the parts merged.
absl::Status FaissKeys::Best(uint32_t rows, size_t count, uint32_t ask, std::vector<float>* scores,
                             std::vector<int64_t>* positions) {
  const DeviceScope scope(options_.device);
  EVOKE_RETURN_IF_ERROR(scope.status());
  EVOKE_CHECK(count == staged_rows_ && ask > 0 && ask <= max_ask() && ask <= rows);
  EVOKE_RETURN_IF_ERROR(CopyToDevice(count * row_bytes_));
  if (options_.rebuild_flat && changed_) EVOKE_RETURN_IF_ERROR(Rebuild(rows));
  const uint32_t part_rows = flat_ != nullptr ? rows : static_cast<uint32_t>(kPartComponents / options_.dim);
  ListMerger merger(count, ask);
  for (uint32_t first = 0; first < rows; first += part_rows) {
    const uint32_t in_part = std::min(part_rows, rows - first);
    const Part part{.first = first, .rows = in_part, .ask = std::min(ask, in_part)};
    EVOKE_RETURN_IF_ERROR(SearchPart(part, count));
    merger.Add(answers_.as<float>(), reinterpret_cast<const int64_t*>(answers_.as<uint8_t>() + PositionsAt(count * part.ask)),
               part.ask, part.first);
  }
  merger.Take(scores, positions);
  return absl::OkStatus();
}

// The part's lists come to lie in answers_: scores, and behind them positions within the part.
absl::Status FaissKeys::SearchPart(const Part& part, size_t count) {
  const size_t entries = count * part.ask;
  const uint64_t behind = PositionsAt(entries);
  EVOKE_RETURN_IF_ERROR(scores_.Reserve(Ample(entries * sizeof(float)), faiss_->stream()));
  EVOKE_RETURN_IF_ERROR(positions_.Reserve(Ample(entries * sizeof(int64_t)), faiss_->stream()));
  EVOKE_RETURN_IF_ERROR(answers_.Reserve(Ample(behind + entries * sizeof(int64_t))));
  const size_t at_once = RowsAtOnce(part.rows, part.ask, options_.dim, options_.format);
  for (size_t row = 0; row < count; row += at_once) {
    EVOKE_RETURN_IF_ERROR(Propose(part, row, std::min(at_once, count - row)));
  }
  const cudaStream_t stream = faiss_->stream().get();
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(answers_.as<void>(), scores_.as<void>(), entries * sizeof(float),
                                                   cudaMemcpyDeviceToHost, stream),
                                   "copying scores"));
  EVOKE_RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(answers_.as<uint8_t>() + behind, positions_.as<void>(),
                                                   entries * sizeof(int64_t), cudaMemcpyDeviceToHost, stream),
                                   "copying positions"));
  EVOKE_RETURN_IF_ERROR(answered_.Record(faiss_->stream()));
  return answered_.Wait();
}

absl::Status FaissKeys::Propose(const Part& part, size_t row, size_t count) {
  float* const scores = scores_.as<float>() + row * part.ask;
  int64_t* const positions = positions_.as<int64_t>() + row * part.ask;
  const uint8_t* const queries = staged_.as<uint8_t>() + row * row_bytes_;
  return faiss_->Run(options_.format, [&](faiss::gpu::StandardGpuResources* resources) {
    if (flat_ != nullptr) {
      flat_->search(static_cast<int64_t>(count), reinterpret_cast<const float*>(queries), part.ask, scores, positions);
      return;
    }
    const auto type = options_.format == KeyFormat::kFloat32 ? faiss::gpu::DistanceDataType::F32
                                                             : faiss::gpu::DistanceDataType::F16;
    faiss::gpu::GpuDistanceParams params;
    params.metric = faiss::METRIC_INNER_PRODUCT;
    params.k = static_cast<int>(part.ask);
    params.dims = static_cast<int>(options_.dim);
    params.vectors = keys_.as<uint8_t>() + part.first * row_bytes_;
    params.vectorType = type;
    params.vectorsRowMajor = true;
    params.numVectors = static_cast<int>(part.rows);
    params.queries = queries;
    params.queryType = type;
    params.queriesRowMajor = true;
    params.numQueries = static_cast<int>(count);
    params.outDistances = scores;
    params.outIndicesType = faiss::gpu::IndicesDataType::I64;
    params.outIndices = positions;
    faiss::gpu::bfKnn(resources, params);
  });
}

absl::Status FaissKeys::Rebuild(uint32_t rows) {
  if (uint64_t{rows} * options_.dim > kPartComponents) {
    return absl::ResourceExhaustedError(absl::StrCat(rows, " keys of ", options_.dim, " are more than FAISS's GpuIndexFlat counts"));
  }
  EVOKE_RETURN_IF_ERROR(faiss_->Run(options_.format, [&](faiss::gpu::StandardGpuResources* resources) {
    flat_.reset();  // before the new one is made: both at once may be too much
    faiss::gpu::GpuIndexFlatConfig config;
    config.device = options_.device;
    auto flat = std::make_unique<faiss::gpu::GpuIndexFlatIP>(resources, static_cast<int>(options_.dim), config);
    flat->add(rows, keys_.as<float>());
    flat_ = std::move(flat);
  }));
  changed_ = false;
  return absl::OkStatus();
}

uint64_t FaissKeys::DeviceBytes() const {
  const uint64_t flat = flat_ != nullptr ? static_cast<uint64_t>(flat_->ntotal) * row_bytes_ : 0;
  return keys_.size_bytes() + staged_.size_bytes() + scores_.size_bytes() + positions_.size_bytes() + flat;
}

}  // namespace evoke
