#include "server/index/index_factory.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/index/canonical_index.h"
#include "server/index/faiss_flat_index.h"
#include "server/index/flat_index.h"

namespace evoke {
namespace {

absl::Status NoSuchIndex(std::string_view name) {
  return absl::InvalidArgumentError(
      absl::StrCat("there is no index \"", std::string(name), "\", only flat, faiss_flat and canonical"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Index>> CreateIndex(std::string_view name, const IndexOptions& options) {
  if (options.dim == 0) return absl::InvalidArgumentError("an index needs a dimension");
  if (name == "flat") return std::make_unique<FlatIndex>(options.parallel);
  if (name == "faiss_flat") return std::make_unique<FaissFlatIndex>(options);
  if (name == "canonical") return std::make_unique<CanonicalIndex>(options.parallel);
  return NoSuchIndex(name);
}

absl::StatusOr<uint64_t> PlannedIndexBytes(std::string_view name, const IndexOptions& options) {
  if (name == "flat" || name == "canonical") return 0;
  if (name == "faiss_flat") return FaissFlatIndex::PlannedBytes(options);
  return NoSuchIndex(name);
}

}  // namespace evoke
