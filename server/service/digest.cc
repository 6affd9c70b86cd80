#include "server/service/digest.h"

#include <xxhash.h>

#include <memory>
#include <string_view>

#include "server/base/check.h"

namespace evoke {
namespace {

// First byte of the encoding; stored through the digest, so never renumbered.
enum class Method : uint8_t { kUpdate = 1, kTrainStep = 2, kClear = 3, kImport = 4 };

// Appends numbers little-endian and strings with their length, so that no two requests have one encoding.
class Digest {
 public:
  explicit Digest(Method method) : state_(XXH3_createState(), XXH3_freeState) {
    EVOKE_CHECK(state_ != nullptr);
    XXH3_128bits_reset(state_.get());
    AddBytes(&method, 1);
  }
  void AddBytes(const void* data, size_t size) { XXH3_128bits_update(state_.get(), data, size); }
  template <typename T>
  void AddNumber(T number) {
    AddBytes(&number, sizeof number);
  }
  template <typename T>
  void AddNumbers(const std::vector<T>& numbers) {
    AddBytes(numbers.data(), numbers.size() * sizeof(T));
  }
  Hash128 Finish() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return {.low = hash.low64, .high = hash.high64};
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace

Hash128 DigestOf(const ObserveCall& call) {
  Digest digest(call.form == ObserveForm::kOutcomes ? Method::kUpdate : Method::kTrainStep);
  digest.AddNumber<uint32_t>(call.rows.count());
  digest.AddNumber<uint32_t>(call.rows.dim);
  digest.AddNumbers(call.rows.unit);
  digest.AddNumbers(call.rows.norms);  // the gradient depends on the scale
  digest.AddNumbers(call.values);
  digest.AddNumbers(call.write);
  digest.AddNumbers(call.rows.skip);
  digest.AddNumber<uint32_t>(static_cast<uint32_t>(call.payloads.size()));
  for (const std::string& payload : call.payloads) {
    digest.AddNumber<uint32_t>(static_cast<uint32_t>(payload.size()));
    digest.AddBytes(payload.data(), payload.size());
  }
  digest.AddNumber<uint8_t>(static_cast<uint8_t>(call.form));
  digest.AddNumber<uint8_t>(call.confidence_gradient ? 1 : 0);
  return digest.Finish();
}

Hash128 DigestOf(const ImportCall& call) {
  Digest digest(Method::kImport);
  digest.AddNumber<uint8_t>(call.exact ? 1 : 0);
  digest.AddNumber<uint64_t>(call.step_after);
  digest.AddNumber<uint32_t>(static_cast<uint32_t>(call.rows.size()));
  for (const ImportRow& row : call.rows) {
    digest.AddNumber(row.slot);
    digest.AddNumber(row.value);
    digest.AddNumber(row.written_step);
    digest.AddNumber(row.hits);
    digest.AddNumbers(row.key);
    digest.AddNumber<uint32_t>(static_cast<uint32_t>(row.payloads.size()));
    for (const PayloadRow& payload : row.payloads) {
      digest.AddNumber(payload.place);
      digest.AddNumber(payload.step.value);
      digest.AddNumber<uint32_t>(static_cast<uint32_t>(payload.bytes.size()));
      digest.AddBytes(payload.bytes.data(), payload.bytes.size());
    }
  }
  return digest.Finish();
}

Hash128 DigestOfClear() {
  return Digest(Method::kClear).Finish();
}

}  // namespace evoke
