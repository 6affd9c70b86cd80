#include "server/service/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace evoke {
namespace {

template <typename T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO, BIO_free_all>>;

absl::StatusOr<std::string> Read(const char* what, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf()))
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", path, " cannot be read, or is empty"));
  return text.str();
}

Bio View(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A key with a passphrase is refused; OpenSSL would ask for it on the terminal.
int NoPassphrase(char*, int, int, void*) {
  return -1;
}

// The first certificate. gRPC reads the ones behind it itself.
absl::StatusOr<Certificate> ParseCertificate(const char* what, const std::string& path,
                                             const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(View(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (certificate == nullptr)
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", path, " has no certificate in PEM"));
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0)
    Log(LogLevel::kWarn, absl::StrCat(what, ": the certificate has expired"), {{LogKey::kFile, path}});
  if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0)
    Log(LogLevel::kWarn, absl::StrCat(what, ": the certificate is not valid yet"), {{LogKey::kFile, path}});
  return certificate;
}

grpc_ssl_server_certificate_config* ToConfig(const TlsMaterial& material) {
  const grpc_ssl_pem_key_cert_pair pair{material.key.c_str(), material.certificate.c_str()};
  // gRPC asserts that there are roots, also when no client is asked for a certificate: then nobody looks at them.
  const std::string& roots = material.client_ca.empty() ? material.certificate : material.client_ca;
  return grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
}

// gRPC's C++ credentials cannot change their certificate: a file watcher can, but it takes a certificate
// whose key has not been written yet and then refuses everybody. The C ones ask for news at every handshake
// and keep what they have when it is no good.
class PortCredentials final : public grpc::ServerCredentials {
 public:
  explicit PortCredentials(grpc_server_credentials* owned) : credentials_(owned) {}
  ~PortCredentials() override { grpc_server_credentials_release(credentials_); }
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    EVOKE_CHECK(false);  // tokens are checked by Auth, also where there is no TLS
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<TlsMaterial> LoadTls(const TlsFiles& files) {
  TlsMaterial material;
  EVOKE_ASSIGN_OR_RETURN(material.certificate, Read("tls-certificate", files.certificate));
  EVOKE_ASSIGN_OR_RETURN(material.key, Read("tls-key", files.key));
  EVOKE_ASSIGN_OR_RETURN(const Certificate certificate,
                         ParseCertificate("tls-certificate", files.certificate, material.certificate));
  const Key key(PEM_read_bio_PrivateKey(View(material.key).get(), nullptr, NoPassphrase, nullptr));
  const bool ours = key != nullptr && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();  // gRPC's handshakes on this thread would find what is left here, and think it theirs
  if (key == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("tls-key: ", files.key, " has no private key in PEM without a passphrase"));
  if (!ours)
    return absl::InvalidArgumentError(
        absl::StrCat("tls-key: ", files.key, " is not the key of the certificate in ", files.certificate));
  struct stat found;
  if (stat(files.key.c_str(), &found) == 0 && (found.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    Log(LogLevel::kWarn, "tls-key: others than its owner can reach the file; chmod 600 it", {{LogKey::kFile, files.key}});
  if (!files.client_ca.empty()) {
    EVOKE_ASSIGN_OR_RETURN(material.client_ca, Read("tls-client-ca", files.client_ca));
    EVOKE_RETURN_IF_ERROR(ParseCertificate("tls-client-ca", files.client_ca, material.client_ca).status());
  }
  return material;
}

struct TlsKeeper::Port {
  TlsKeeper* keeper;
  uint64_t version = 0;  // of the material that gRPC has; guarded by keeper->mu_
};

TlsKeeper::TlsKeeper(TlsMaterial material) : material_(std::move(material)) {}
TlsKeeper::~TlsKeeper() = default;

void TlsKeeper::Replace(TlsMaterial material) {
  MutexLock lock(&mu_);
  EVOKE_CHECK(material.client_ca.empty() == material_.client_ca.empty());
  material_ = std::move(material);
  ++version_;
}

std::shared_ptr<grpc::ServerCredentials> TlsKeeper::MakeCredentials() {
  MutexLock lock(&mu_);
  Port* port = &ports_.emplace_back(Port{.keeper = this});
  const auto fetch = [](void* data, grpc_ssl_server_certificate_config** config) {
    auto* asking = static_cast<Port*>(data);
    MutexLock fetch_lock(&asking->keeper->mu_);
    if (asking->version == asking->keeper->version_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    *config = ToConfig(asking->keeper->material_);
    asking->version = asking->keeper->version_;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  };
  return std::make_shared<PortCredentials>(grpc_ssl_server_credentials_create_with_options(
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          material_.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                      : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
          fetch, port)));
}

}  // namespace evoke
