// The C++ client, evokectl and evoke-load before a built evoked with TLS and tokens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <signal.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/certificates.h"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string DigestOf(const std::string& token) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest);
  return absl::BytesToHexString({reinterpret_cast<char*>(digest), sizeof digest});
}

class SecureClientsTest : public ::testing::Test {
 protected:
  SecureClientsTest() {
    Write("ca", ca_.pem());
    Write("clients", clients_.pem());
    const IssuedCertificate server = ca_.Issue(), client = clients_.Issue({.common_name = "carol"});
    Write("server.pem", server.certificate);
    Write("server.key", server.key);
    Write("client.pem", client.certificate);
    Write("client.key", client.key);
    Write("token", "s3cret1\n");
    Write("tokens", absl::StrCat("alice trainer faces* ", DigestOf("s3cret1"), "\n"));
    server_.Start();
  }
  ~SecureClientsTest() override { EXPECT_THAT(server_.Log(), Not(HasSubstr("s3cret"))); }

  std::string File(const std::string& name) const { return folder_.File(name); }
  void Write(const std::string& name, const std::string& text) { WriteWholeFile(File(name), text); }
  void Reload() {
    const size_t before = server_.Log().size();
    server_.Signal(SIGHUP);
    EXPECT_TRUE(
        Eventually([&] { return server_.Log().find("tokens are read", before) != std::string::npos; }));
  }
  client::ClientOptions Options() const {
    return {.addresses = {server_.tcp_address()},
            .deadline = absl::Seconds(20),
            .tls = client::TlsOptions{.root_certificates = File("ca"),
                                      .certificate = File("client.pem"),
                                      .key = File("client.key")},
            .token_file = File("token")};
  }
  Finished Evokectl(std::vector<std::string> arguments,
                    std::map<std::string, std::string> environment = {}) const {
    arguments.insert(arguments.begin(), {kEvokectl, "-a", server_.tcp_address(), "--tls-cert",
                                         File("client.pem"), "--tls-key", File("client.key"), "-d", "2s"});
    return RunProgram(arguments, environment);
  }

  const CertificateAuthority ca_{"ca"}, clients_{"clients"};
  const TestFolder folder_;
  ServerProcess server_{{"--listen", "127.0.0.1:0", "--tls-certificate", File("server.pem"), "--tls-key",
                         File("server.key"), "--tls-client-ca", File("clients"), "--tokens", File("tokens")}};
};

TEST_F(SecureClientsTest, TheClientShowsItsCertificateAndItsToken) {
  const auto client = client::Client::Connect(Options());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto made = (*client)->CreateMemory("faces", {.key_dim = 2, .capacity = 10});
  EXPECT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(
      absl::IsPermissionDenied((*client)->CreateMemory("birds", {.key_dim = 2, .capacity = 10}).status()));
}

TEST_F(SecureClientsTest, TheTokenFileIsReadAgainAfterARotation) {
  const auto client = client::Client::Connect(Options());
  ASSERT_TRUE((*client)->Status().ok());
  Write("tokens", absl::StrCat("alice reader * ", DigestOf("s3cret2"), "\n"));
  Reload();
  const auto refused = (*client)->Status();
  EXPECT_TRUE(absl::IsUnauthenticated(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), Not(HasSubstr("s3cret")));
  Write("token", "s3cret2");
  const auto answered = (*client)->Status();
  EXPECT_TRUE(answered.ok()) << answered.status();
}

TEST_F(SecureClientsTest, TheNameInTheCertificateMustBeTheExpectedOne) {
  client::ClientOptions options = Options();
  options.deadline = absl::Seconds(1);
  options.tls->server_name = "elsewhere.example";
  // UNAVAILABLE from the handshake, repeated until the deadline.
  const absl::Status refused = (*client::Client::Connect(options))->Status().status();
  EXPECT_TRUE(absl::IsUnavailable(refused) || absl::IsDeadlineExceeded(refused)) << refused;
  options.tls->server_name = "localhost";
  options.deadline = absl::Seconds(20);
  EXPECT_TRUE((*client::Client::Connect(options))->Status().ok());
}

TEST_F(SecureClientsTest, EvokectlTakesFilesByFlagAndEnvironment) {
  const Finished flags = Evokectl({"--tls-ca", File("ca"), "--token-file", File("token"), "memory", "create",
                                   "faces", "--key-dim", "2", "--capacity", "9"});
  EXPECT_EQ(flags.exit_code, 0) << flags.err;
  const Finished environment =
      Evokectl({"status"}, {{"EVOKE_TLS_CA", File("ca")}, {"EVOKE_TOKEN_FILE", File("token")}});
  EXPECT_EQ(environment.exit_code, 0) << environment.err;
  EXPECT_THAT(environment.out, HasSubstr("faces"));
  const Finished nobody = Evokectl({"--tls-ca", File("ca"), "status"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("UNAUTHENTICATED"));
  const Finished probe = Evokectl({"--tls-ca", File("ca"), "health"});
  EXPECT_EQ(probe.exit_code, 0) << "health needs no token";
  const Finished denied =
      Evokectl({"--tls-ca", File("ca"), "--token-file", File("token"), "memory", "delete", "faces", "--yes"});
  EXPECT_EQ(denied.exit_code, 1);
  EXPECT_THAT(denied.err, AllOf(HasSubstr("needs the role admin"), Not(HasSubstr("s3cret"))));
}

TEST_F(SecureClientsTest, EvokeLoadTakesTheSameFiles) {
  const std::vector<std::string> argv = {EVOKE_LOAD_PATH,
                                         "-a",
                                         server_.tcp_address(),
                                         "--tls-ca",
                                         File("ca"),
                                         "--tls-cert",
                                         File("client.pem"),
                                         "--tls-key",
                                         File("client.key"),
                                         "-m",
                                         "faces",
                                         "--create",
                                         "--slots",
                                         "100",
                                         "--dim",
                                         "4",
                                         "--calls",
                                         "20"};
  std::vector<std::string> known = argv;
  known.insert(known.end(), {"--token-file", File("token")});
  const Finished loaded = RunProgram(known);
  EXPECT_EQ(loaded.exit_code, 0) << loaded.err;
  EXPECT_THAT(loaded.out, HasSubstr("correct: 20 mutations"));
  const Finished nobody = RunProgram(argv);
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("token"));
}

TEST_F(SecureClientsTest, EvokectlSendsNoTokenUnencryptedToAnotherMachine) {
  const Finished refused =
      RunProgram({kEvokectl, "-a", "example.com:1", "--token-file", File("token"), "status"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("unencrypted"), Not(HasSubstr("s3cret"))));
}

}  // namespace
}  // namespace evoke::testing
