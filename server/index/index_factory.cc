#include "server/index/index_factory.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/index/canonical_index.h"
#include "server/index/device_plan.h"
#include "server/index/faiss_flat_index.h"
#include "server/index/flat_index.h"
#include "server/index/gpu_index.h"

namespace evoke {
namespace {

absl::Status NoSuchIndex(std::string_view name) {
  return absl::InvalidArgumentError(absl::StrCat("there is no index \"", std::string(name), "\", only flat, faiss_flat, canonical, ",
                                                 absl::StrJoin(DeviceIndexNames(), ", ")));
}

bool IsBuilt(const IndexOptions& options) { return options.make_device || CudaVersion() != "off"; }

}  // namespace

absl::StatusOr<std::unique_ptr<Index>> CreateIndex(std::string_view name, const IndexOptions& options) {
  if (options.dim == 0) return absl::InvalidArgumentError("an index needs a dimension");
  if (name == "flat") return std::make_unique<FlatIndex>(options.parallel);
  if (name == "faiss_flat") return std::make_unique<FaissFlatIndex>(options);
  if (name == "canonical") return std::make_unique<CanonicalIndex>(options.parallel);
  if (!IsDeviceIndex(name)) return NoSuchIndex(name);
  const DeviceSearchOptions on_device{
      .device = options.device, .dim = options.dim, .capacity = options.capacity, .parallel = options.parallel};
  auto search = options.make_device ? options.make_device(name, on_device) : CreateDeviceSearch(name, on_device);
  if (absl::IsUnimplemented(search.status())) return search.status();
  return std::make_unique<GpuIndex>(name, std::move(search), options);
}

absl::StatusOr<IndexPlan> PlanIndex(std::string_view name, const IndexOptions& options) {
  if (name == "flat" || name == "canonical") return IndexPlan();
  if (name == "faiss_flat") return IndexPlan{.ram_bytes = FaissFlatIndex::PlannedBytes(options)};
  if (!IsDeviceIndex(name)) return NoSuchIndex(name);
  if (!IsBuilt(options)) return CreateDeviceSearch(name, {}).status();
  return IndexPlan{.device_bytes = PlannedDeviceBytes(name, options.dim, options.capacity)};
}

}  // namespace evoke
