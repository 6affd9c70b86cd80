// Files of tokens: what is accepted gives a role, legal patterns and a name to each token, and nobody else gets in.
#include "server/service/tokens.h"

#include <string>

#include "absl/strings/match.h"
#include "tests/fuzz/fuzz_target.h"

namespace evoke::fuzz {
namespace {

void Run(std::string_view input) {
  const std::string text(input);
  const auto table = TokenTable::Parse(text, "tokens");
  // SHA-256 of "evoke".
  const std::string line = "\nextra reader faces,x-* a04e52d895fe5248b939d6fb6dbada6cc16e387af0dcf6543677a97be61db00a\n";
  if (!table.ok()) {
    EVOKE_CHECK(absl::IsInvalidArgument(table.status()));
    EVOKE_CHECK(absl::StartsWith(table.status().message(), "tokens:"));
    // A mistake is not cured by what follows it; a file that only lacked a token is.
    const auto more = TokenTable::Parse(text + line, "tokens");
    const bool only_empty = absl::EndsWith(table.status().message(), "tokens: has no token");
    EVOKE_CHECK(more.ok() == only_empty);
    return;
  }
  EVOKE_CHECK((*table)->size() > 0);
  EVOKE_CHECK((*table)->Find("") == nullptr);
  EVOKE_CHECK((*table)->Find(text) == nullptr);
  const auto more = TokenTable::Parse(text + line, "tokens");
  if (more.ok()) EVOKE_CHECK((*more)->size() == (*table)->size() + 1);
}

}  // namespace
}  // namespace evoke::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  evoke::fuzz::Run(evoke::fuzz::View(data, size));
  return 0;
}
