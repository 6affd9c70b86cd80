// Specs as stored bytes: what is decoded is valid, and survives encoding, the wire, and its digest.
#include "server/memory/memory_spec.h"

#include "server/service/convert_admin.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void Run(std::string_view input) {
  const absl::StatusOr<MemorySpec> spec = DecodeSpec(input);
  if (!spec.ok()) return CheckRefusal(spec.status());
  EVOKE_CHECK(ValidateSpec(*spec).ok());
  EVOKE_CHECK(SpecDifference(*spec, *spec).empty());
  const absl::StatusOr<MemorySpec> stored = DecodeSpec(EncodeSpec(*spec));
  EVOKE_CHECK(stored.ok() && *stored == *spec);
  const absl::StatusOr<MemorySpec> sent = ToSpec(ToProto(*spec));
  EVOKE_CHECK(sent.ok() && *sent == *spec);
  EVOKE_CHECK(SpecDigest(*sent) == SpecDigest(*spec));
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
