#include "server/service/security.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace evoke {
namespace {

void LogKept(const char* what, const absl::Status& status) {
  Log(LogLevel::kError, absl::StrCat("reload: ", what, " stay as they were"), {{LogKey::kDetail, status.message()}});
}

absl::Status Unchangeable(bool has, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(what, has ? " were" : " were not",
                                                 " given at start, and that cannot change without a restart"));
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
      Log(LogLevel::kInfo, "reload: TLS files are read");
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
      Log(LogLevel::kInfo, "reload: tokens are read", {{LogKey::kCount, count}});
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
