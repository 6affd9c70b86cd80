// What a build without EVOKE_GPU has in place of gpu/.
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/index/device_search_factory.h"

namespace evoke {
namespace {

absl::Status NotBuilt(std::string_view what) {
  return MakeError(absl::StatusCode::kUnimplemented,
                   absl::StrCat(std::string(what), " is not built in: configure with -DEVOKE_GPU=ON"),
                   {.reason = "NOT_BUILT", .metadata = {{"option", "EVOKE_GPU"}}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceSearch>> CreateDeviceSearch(std::string_view name, const DeviceSearchOptions&) {
  return NotBuilt(absl::StrCat("index \"", std::string(name), "\""));
}

absl::StatusOr<std::vector<DeviceInfo>> ListDevices() { return NotBuilt("CUDA"); }

std::string CudaVersion() { return "off"; }

}  // namespace evoke
