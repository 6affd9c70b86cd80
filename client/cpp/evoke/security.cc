#include "evoke/security.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace evoke::client {
namespace {

constexpr absl::string_view kScheme = "Bearer ";

// `into` stays empty when there is no path.
absl::Status Read(absl::string_view what, const std::string& path, std::string* into) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", path, " cannot be read, or is empty"));
  *into = text.str();
  return absl::OkStatus();
}

// gRPC aborts the process for a header value with other bytes.
absl::StatusOr<std::string> HeaderOf(absl::string_view what, absl::string_view token) {
  token = absl::StripAsciiWhitespace(token);
  if (token.empty() || !std::all_of(token.begin(), token.end(), absl::ascii_isgraph))
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has no token: visible ASCII characters, without blanks"));
  return absl::StrCat(kScheme, token);
}

absl::StatusOr<std::string> HeaderFrom(const std::string& file) {
  std::string text;
  if (absl::Status read = Read("token_file", file, &text); !read.ok()) return read;
  return HeaderOf(absl::StrCat("token_file ", file), text);
}

}  // namespace

bool IsLocalAddress(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]") return true;
  // Not a name like 127.example.com.
  return absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientOptions& options,
                                                                          const std::string& address) {
  if (!options.tls.has_value() || absl::StartsWith(address, "unix:"))
    return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  for (const absl::Status& read :
       {Read("tls.root_certificates", options.tls->root_certificates, &ssl.pem_root_certs),
        Read("tls.certificate", options.tls->certificate, &ssl.pem_cert_chain),
        Read("tls.key", options.tls->key, &ssl.pem_private_key)}) {
    if (!read.ok()) return read;
  }
  if (ssl.pem_cert_chain.empty() != ssl.pem_private_key.empty())
    return absl::InvalidArgumentError("tls.certificate and tls.key go together, and one of them is missing");
  return grpc::SslCredentials(ssl);
}

absl::StatusOr<std::unique_ptr<TokenSource>> TokenSource::Create(const ClientOptions& options) {
  std::unique_ptr<TokenSource> source(new TokenSource(options.token_file));
  if (options.token.empty() && options.token_file.empty()) return source;
  if (!options.token.empty() && !options.token_file.empty())
    return absl::InvalidArgumentError("both token and token_file are given, expected one of them");
  for (const std::string& address : options.addresses) {
    if (options.tls.has_value() || options.allow_insecure_token || IsLocalAddress(address)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the token would cross the network to ", address,
                     " unencrypted; use TLS, or say that this network may see it (allow_insecure_token)"));
  }
  absl::StatusOr<std::string> header =
      options.token_file.empty() ? HeaderOf("token", options.token) : HeaderFrom(options.token_file);
  if (!header.ok()) return header.status();
  absl::MutexLock lock(&source->mu_);
  source->header_ = *std::move(header);
  return source;
}

std::string TokenSource::Header() const {
  absl::MutexLock lock(&mu_);
  return header_;
}

bool TokenSource::Renew(const std::string& header) {
  absl::MutexLock lock(&mu_);
  if (header_ != header) return true;
  if (file_.empty()) return false;
  absl::StatusOr<std::string> read = HeaderFrom(file_);
  if (!read.ok() || *read == header) return false;
  header_ = *std::move(read);
  return true;
}

}  // namespace evoke::client
