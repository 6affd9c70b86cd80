#include "server/service/security.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/match.h"
#include "server/base/status_macros.h"

namespace evoke {
namespace {

void LogKept(const char* what, const absl::Status& status) {
  spdlog::error("reload: {} stay as they were: {}", what, std::string(status.message()));
}

absl::Status Unchangeable(bool has, const char* what) {
  return absl::InvalidArgumentError(fmt::format(
      "{} {} given at start, and that cannot change without a restart", what, has ? "were" : "were not"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Security>> Security::Open(const SecurityFiles& files) {
  std::unique_ptr<Security> security(new Security);
  security->files_ = files;
  std::shared_ptr<const TokenTable> tokens;
  if (!files.tls.certificate.empty()) {
    EVOKE_ASSIGN_OR_RETURN(TlsMaterial material, LoadTls(files.tls));
    security->tls_ = std::make_unique<TlsKeeper>(std::move(material));
  }
  if (!files.tokens.empty()) {
    EVOKE_ASSIGN_OR_RETURN(tokens, TokenTable::Load(files.tokens));
  }
  EVOKE_ASSIGN_OR_RETURN(security->audit_, AuditLog::Open(files.audit_log));
  security->auth_ = std::make_unique<Auth>(std::move(tokens), !files.tls.client_ca.empty());
  return security;
}

absl::Status Security::Check(const SecurityFiles& files) {
  if (!files.tls.certificate.empty()) EVOKE_RETURN_IF_ERROR(LoadTls(files.tls).status());
  if (!files.tokens.empty()) EVOKE_RETURN_IF_ERROR(TokenTable::Load(files.tokens).status());
  return absl::OkStatus();
}

void Security::Reload(const SecurityFiles& files) {
  if (const bool has = tls_ != nullptr;
      has == files.tls.certificate.empty() || files_.tls.client_ca.empty() != files.tls.client_ca.empty()) {
    LogKept("TLS files", Unchangeable(has, "such TLS files"));
  } else if (has) {
    absl::StatusOr<TlsMaterial> material = LoadTls(files.tls);
    if (material.ok()) {
      tls_->Replace(*std::move(material));
      spdlog::info("reload: TLS files are read");
    } else {
      LogKept("TLS files", material.status());
    }
  }
  if (const bool has = !files_.tokens.empty(); has == files.tokens.empty()) {
    LogKept("tokens", Unchangeable(has, "tokens"));
  } else if (has) {
    absl::StatusOr<std::shared_ptr<const TokenTable>> tokens = TokenTable::Load(files.tokens);
    if (tokens.ok()) {
      const size_t count = (*tokens)->size();
      auth_->SetTokens(*std::move(tokens));
      spdlog::info("reload: {} tokens are read", count);
    } else {
      LogKept("tokens", tokens.status());
    }
  }
  if (absl::Status reopened = audit_->Reopen(); !reopened.ok())
    LogKept("the audit log and its file", reopened);
}

std::shared_ptr<grpc::ServerCredentials> Security::CredentialsFor(const std::string& address) {
  if (tls_ == nullptr || absl::StartsWith(address, "unix:")) return grpc::InsecureServerCredentials();
  return tls_->MakeCredentials();
}

}  // namespace evoke
