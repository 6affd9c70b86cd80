#include "server/service/tokens.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"

namespace evoke {
namespace {

// As names of memories, and '*'.
bool IsPattern(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-' || c == '*';
  });
}

}  // namespace

std::string TokenTable::AddLine(absl::string_view line) {
  const std::vector<std::string> fields = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (fields.empty()) return "";
  if (fields.size() != 4)
    return absl::StrCat("has ", fields.size(), " fields, expects name, role, memories, SHA-256 of the token");
  Entry entry{.digest = {}, .principal = {.name = fields[0], .patterns = absl::StrSplit(fields[2], ',')}};
  // A line with its fields in another order could have the token at any place: none is quoted.
  const std::optional<Role> role = RoleNamed(fields[1]);
  if (!role) return "the second field is no role: reader, trainer or admin";
  entry.principal.role = *role;
  if (!std::all_of(entry.principal.patterns.begin(), entry.principal.patterns.end(), IsPattern))
    return "the third field has something that is no name of a memory, with '*' for any characters";
  if (fields[3].size() != 2 * SHA256_DIGEST_LENGTH ||
      !std::all_of(fields[3].begin(), fields[3].end(), absl::ascii_isxdigit))
    return "the fourth field is no SHA-256, 64 hex digits (not the token itself)";
  const std::string digest = absl::HexStringToBytes(fields[3]);
  std::copy(digest.begin(), digest.end(), entry.digest.begin());
  for (const Entry& other : entries_) {
    if (other.digest == entry.digest) return "the token of an earlier line";
  }
  entries_.push_back(std::move(entry));
  return "";
}

absl::StatusOr<std::shared_ptr<const TokenTable>> TokenTable::Parse(const std::string& text,
                                                                    const std::string& file) {
  auto table = std::make_shared<TokenTable>();
  std::vector<std::string> errors;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (std::string error = table->AddLine(line.substr(0, line.find('#'))); !error.empty())
      errors.push_back(absl::StrCat(file, ":", number, ": ", error));
  }
  if (errors.empty() && table->entries_.empty()) errors.push_back(absl::StrCat(file, ": has no token"));
  if (!errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
  return std::shared_ptr<const TokenTable>(std::move(table));
}

absl::StatusOr<std::shared_ptr<const TokenTable>> TokenTable::Load(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    return absl::InvalidArgumentError(absl::StrCat("tokens: ", file, " cannot be read, or is empty"));
  struct stat found;
  if (stat(file.c_str(), &found) == 0 && (found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    Log(LogLevel::kWarn, "tokens: others than its owner can write the file, and so make themselves admin",
        {{LogKey::kFile, file}});
  return Parse(text.str(), file);
}

const Principal* TokenTable::Find(std::string_view token) const {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  const Principal* found = nullptr;
  // Over all of them, and in constant time each: how long it takes tells nothing of what is in the table.
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(digest.data(), entry.digest.data(), digest.size()) == 0) found = &entry.principal;
  }
  return found;
}

}  // namespace evoke
