#include "server/index/device_plan.h"

#include <algorithm>

namespace evoke {
namespace {

constexpr uint64_t kMinRows = 4096;

struct DeviceIndex {
  const char* name;
  uint64_t component_bytes;
  uint64_t components;  // a key has a multiple of so many
};

// "gpu" has both planes of a key. "faiss_gpu_flat" has keys as they come and once more as FAISS keeps them.
constexpr DeviceIndex kIndexes[] = {
    {"gpu", 4, 16}, {"faiss_gpu", 4, 1}, {"faiss_gpu_f16", 2, 1}, {"faiss_gpu_flat", 8, 1}};

const DeviceIndex* Find(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kIndexes), std::end(kIndexes), [&](const DeviceIndex& i) { return i.name == name; });
  return found == std::end(kIndexes) ? nullptr : found;
}

}  // namespace

const std::vector<std::string>& DeviceIndexNames() {
  static const auto* const names = [] {
    auto* all = new std::vector<std::string>();
    for (const DeviceIndex& index : kIndexes) all->push_back(index.name);
    return all;
  }();
  return *names;
}

bool IsDeviceIndex(std::string_view name) { return Find(name) != nullptr; }

uint64_t GrownRows(uint64_t room, uint64_t rows, uint64_t capacity) {
  if (rows <= room) return room;
  const uint64_t more = std::max({kMinRows, 2 * room, rows});
  return 2 * more >= capacity ? capacity : more;
}

// To the whole capacity it grows from less than half of it, once and last: old and new are together below 1.5 times that.
uint64_t PlannedDeviceBytes(std::string_view name, uint32_t dim, uint64_t capacity) {
  const DeviceIndex* const index = Find(name);
  if (index == nullptr) return 0;
  const uint64_t components = (dim + index->components - 1) / index->components * index->components;
  return capacity * 3 / 2 * components * index->component_bytes;
}

}  // namespace evoke
