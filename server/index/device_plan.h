// Which indexes live on a device, and what they take there: known without one, so that a plan can be made anywhere. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace evoke {

// As in the configuration: "gpu", "faiss_gpu", "faiss_gpu_f16", "faiss_gpu_flat".
const std::vector<std::string>& DeviceIndexNames();
bool IsDeviceIndex(std::string_view name);

// For how many keys a buffer on the device is to have room when `rows` are needed: it doubles, and from half of
// `capacity` on has room for all, so that growing never takes more than half of it besides. Requires: rows <= capacity.
uint64_t GrownRows(uint64_t room, uint64_t rows, uint64_t capacity);

// What an index of `capacity` keys takes on its device at most. While it grows, what it grows from is there too.
// Requires: IsDeviceIndex(name).
uint64_t PlannedDeviceBytes(std::string_view name, uint32_t dim, uint64_t capacity);

// Of a device's memory this is not for keys: the driver's own, what FAISS computes in (1.5 GiB), and what rows and
// candidates pass through.
inline constexpr uint64_t kDeviceReserveBytes = uint64_t{2} << 30;

}  // namespace evoke
