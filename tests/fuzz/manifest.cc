// Manifests of snapshots: what is accepted can be written and read again without a change, and names nothing outside
// its folder.
#include <filesystem>
#include <string>

#include "storage/manifest.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

bool LiesBelow(const std::string& name, const std::filesystem::path& folder) {
  const std::filesystem::path path = (folder / name).lexically_normal();
  return path != folder && path.lexically_relative(folder).begin()->string() != "..";
}

void Run(std::string_view input) {
  const absl::StatusOr<SnapshotManifest> manifest = DecodeManifest(input);
  if (!manifest.ok()) return CheckRefusal(manifest.status());
  EVOKE_CHECK(IsSnapshotId(manifest->id));
  EVOKE_CHECK(LiesBelow(manifest->id, "/s"));
  for (const SnapshotManifest::File& file : manifest->files) {
    EVOKE_CHECK(LiesBelow(file.name, "/s/i"));
    EVOKE_CHECK(file.sha256.size() == 64);
  }
  const std::string text = EncodeManifest(*manifest);
  const absl::StatusOr<SnapshotManifest> again = DecodeManifest(text);
  EVOKE_CHECK(again.ok() && *again == *manifest);
  EVOKE_CHECK(EncodeManifest(*again) == text);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
