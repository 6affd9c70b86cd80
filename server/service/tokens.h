// The file of bearer tokens: who holds which, as what.
//
//   # name   role     memories     SHA-256 of the token, in hex
//   alice    trainer  faces,face-* 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// Fields stand apart by blanks; empty lines and what follows a '#' are nothing. A name may have several
// tokens, so that one can take over from another. The file and this object hold no usable secret: a token is
// 32 random bytes or more (README.md), which no search through digests finds.
#pragma once

#include <openssl/sha.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/service/access.h"

namespace evoke {

// Immutable once made; thread-safe.
class TokenTable {
 public:
  // INVALID_ARGUMENT with a line "FILE:LINE: ..." for each mistake, which quotes nothing that could be a
  // token; also for a file without any token, which would lock everybody out.
  static absl::StatusOr<std::shared_ptr<const TokenTable>> Parse(const std::string& text,
                                                                 const std::string& file);
  // Parse of what the file holds; INVALID_ARGUMENT when it cannot be read.
  static absl::StatusOr<std::shared_ptr<const TokenTable>> Load(const std::string& file);

  // Whose token it is; nullptr: nobody's. Takes the same time for every token of one length. Valid until:
  // this table goes.
  const Principal* Find(std::string_view token) const;
  size_t size() const { return entries_.size(); }

 private:
  using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;
  struct Entry {
    Digest digest;
    Principal principal;
  };
  std::string AddLine(absl::string_view line);

  std::vector<Entry> entries_;
};

}  // namespace evoke
