// SHA-256, by OpenSSL: what an export says of each of its members.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

struct evp_md_ctx_st;

namespace evoke::cli {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Add(absl::string_view bytes);
  // 64 lower-case hex digits. Once.
  std::string Hex();

 private:
  evp_md_ctx_st* const context_;
};

}  // namespace evoke::cli
