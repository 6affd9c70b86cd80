// Certificates made for one test: a CA, and whom it vouches for.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace evoke::testing {

struct IssuedCertificate {
  std::string certificate;  // PEM
  std::string key;          // PEM, no passphrase
};

struct CertificateRequest {
  std::string common_name = "server";
  std::string names = "DNS:localhost,IP:127.0.0.1";  // the subject's alternative names
  absl::Duration valid_until =
      absl::Hours(1);  // from now; negative: it has expired. Valid since two hours before that
};

// A self-signed root with a key of its own. Ends the test program when OpenSSL fails.
class CertificateAuthority {
 public:
  explicit CertificateAuthority(const std::string& name);
  IssuedCertificate Issue(const CertificateRequest& request = {}) const;
  const std::string& pem() const { return root_.certificate; }

 private:
  IssuedCertificate root_;
};

}  // namespace evoke::testing
