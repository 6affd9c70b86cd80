#include "tests/integration/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace evoke::testing {
namespace {

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

void Expect(bool condition) {
  if (condition) return;
  std::fputs("OpenSSL cannot make a certificate\n", stderr);
  std::abort();
}

std::string TextOf(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Expect(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself when there is none.
IssuedCertificate Make(const CertificateRequest& request, const IssuedCertificate* issuer) {
  static std::atomic<long> serial{1};
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate certificate(X509_new(), X509_free);
  Expect(key != nullptr && certificate != nullptr);
  X509* const made = certificate.get();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial++);
  const long until = absl::ToInt64Seconds(request.valid_until);
  X509_gmtime_adj(X509_getm_notBefore(made), until - 7200);
  X509_gmtime_adj(X509_getm_notAfter(made), until);
  X509_set_pubkey(made, key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(request.common_name.c_str()), -1, -1, 0);
  Certificate issuer_certificate(nullptr, X509_free);
  Key issuer_key(nullptr, EVP_PKEY_free);
  if (issuer != nullptr) {
    const Bio certificate_pem(BIO_new_mem_buf(issuer->certificate.data(), -1), BIO_free_all);
    const Bio key_pem(BIO_new_mem_buf(issuer->key.data(), -1), BIO_free_all);
    issuer_certificate.reset(PEM_read_bio_X509(certificate_pem.get(), nullptr, nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(key_pem.get(), nullptr, nullptr, nullptr));
    AddExtension(made, issuer_certificate.get(), NID_subject_alt_name, request.names);
  } else {
    AddExtension(made, made, NID_basic_constraints, "critical,CA:TRUE");
  }
  X509_set_issuer_name(made, X509_get_subject_name(issuer != nullptr ? issuer_certificate.get() : made));
  Expect(X509_sign(made, issuer != nullptr ? issuer_key.get() : key.get(), EVP_sha256()) > 0);

  const Bio certificate_pem(BIO_new(BIO_s_mem()), BIO_free_all), key_pem(BIO_new(BIO_s_mem()), BIO_free_all);
  Expect(PEM_write_bio_X509(certificate_pem.get(), made) == 1 &&
         PEM_write_bio_PKCS8PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return {TextOf(certificate_pem), TextOf(key_pem)};
}

}  // namespace

CertificateAuthority::CertificateAuthority(const std::string& name)
    : root_(Make({.common_name = name}, nullptr)) {}

IssuedCertificate CertificateAuthority::Issue(const CertificateRequest& request) const {
  return Make(request, &root_);
}

}  // namespace evoke::testing
