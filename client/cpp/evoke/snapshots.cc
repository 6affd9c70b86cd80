#include "evoke/snapshots.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "evoke/error_details.h"

namespace evoke::client {

std::string SnapshotToken::ToText() const {
  return absl::StrCat("evoke1:", uid.ToHex(), ":", epoch, ":", turn, ":", step, ":", state_hash);
}

absl::StatusOr<SnapshotToken> SnapshotToken::Parse(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  SnapshotToken token;
  bool good = parts.size() == 6;
  if (good) {
    const absl::StatusOr<Id128> uid = Id128::FromHex(parts[1]);
    good = uid.ok() && Id128::FromHex(parts[5]).ok() && absl::SimpleAtoi(parts[2], &token.epoch) &&
           absl::SimpleAtoi(parts[3], &token.turn) && absl::SimpleAtoi(parts[4], &token.step);
    if (uid.ok()) token.uid = *uid;
    token.state_hash = parts[5];
  }
  // Signs, spaces, leading zeros and upper case would make two texts of one state.
  if (good && token.ToText() == text && token.state_hash.find_first_of("ABCDEF") == std::string::npos) {
    return token;
  }
  absl::Status status = absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is no token: expected evoke1:<uid>:<epoch>:<turn>:<step>:<state hash>"));
  ErrorDetails details;
  details.reason = "BAD_ARGUMENT";
  details.metadata["field"] = "token";
  SetErrorDetails(details, &status);
  return status;
}

}  // namespace evoke::client
