// TLS before a built evoked: which connections come about, which do not, and what hostile ones cost.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/certificates.h"
#include "tests/integration/raw_client.h"
#include "tests/integration/server_process.h"

namespace evoke::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class TlsTest : public ::testing::Test {
 protected:
  void Install(const IssuedCertificate& issued) {
    WriteWholeFile(folder_.File("server.pem"), issued.certificate);
    WriteWholeFile(folder_.File("server.key"), issued.key);
    std::filesystem::permissions(folder_.File("server.key"),
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  void Start(const IssuedCertificate& issued, std::vector<std::string> flags = {}) {
    Install(issued);
    for (const char* flag :
         {"--listen", "127.0.0.1:0", "--tls-certificate", "server.pem", "--tls-key", "server.key"})
      flags.push_back(absl::StartsWith(flag, "server") ? folder_.File(flag) : flag);
    server_ = std::make_unique<ServerProcess>(flags);
    server_->Start();
  }
  void StartMutual(std::vector<std::string> flags = {}) {
    WriteWholeFile(folder_.File("clients.pem"), clients_.pem());
    flags.insert(flags.end(), {"--tls-client-ca", folder_.File("clients.pem")});
    Start(ca_.Issue(), flags);
  }
  void Reload(const std::string& until_log_has) {
    const size_t before = server_->Log().size();
    server_->Signal(SIGHUP);
    EXPECT_TRUE(Eventually([&] { return server_->Log().find(until_log_has, before) != std::string::npos; }));
  }

  // What a call hears that comes with these; "UNAVAILABLE/": no connection.
  std::string CodeWith(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    RawClient client(server_->tcp_address(), {.credentials = credentials, .wait_for_ready = false});
    v1::ListMemoriesResponse list;
    return client.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason;
  }
  static std::shared_ptr<grpc::ChannelCredentials> Trusting(const CertificateAuthority& ca,
                                                            const IssuedCertificate& own = {}) {
    return grpc::SslCredentials(
        {.pem_root_certs = ca.pem(), .pem_private_key = own.key, .pem_cert_chain = own.certificate});
  }

  const CertificateAuthority ca_{"ca"}, other_ca_{"other"}, clients_{"clients"};
  const TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

// --- which connections come about

TEST_F(TlsTest, AServerIsBelievedWhenItsCaIsTheClientsAndItsNameIsTheRightOne) {
  Start(ca_.Issue());
  EXPECT_EQ(CodeWith(Trusting(ca_)), "OK");
  EXPECT_EQ(CodeWith(Trusting(other_ca_)), "UNAVAILABLE/");
  Install(ca_.Issue({.names = "DNS:elsewhere.example"}));
  Reload("TLS files are read");
  EXPECT_EQ(CodeWith(Trusting(ca_)), "UNAVAILABLE/");
}

TEST_F(TlsTest, AnExpiredServerIsNotBelievedAndSaysSoInItsLog) {
  Start(ca_.Issue({.valid_until = -absl::Hours(1)}));
  EXPECT_EQ(CodeWith(Trusting(ca_)), "UNAVAILABLE/");
  EXPECT_THAT(server_->Log(), ::testing::ContainsRegex("the certificate has expired file=.*server.pem"));
}

TEST_F(TlsTest, NeitherSideFallsBackToPlaintext) {
  Start(ca_.Issue());
  EXPECT_EQ(CodeWith(grpc::InsecureChannelCredentials()), "UNAVAILABLE/");
  ServerProcess plain({"--listen", "127.0.0.1:0"});
  plain.Start();
  RawClient client(plain.tcp_address(), {.credentials = Trusting(ca_), .wait_for_ready = false});
  v1::ListMemoriesResponse list;
  EXPECT_EQ(client.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "UNAVAILABLE/");
}

int ConnectTo(const std::string& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

// Whether a handshake of exactly this version succeeds, with a client that would take anything.
bool Shakes(const std::string& address, int version) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_min_proto_version(context, version);
  SSL_CTX_set_max_proto_version(context, version);
  SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
  const unsigned char h2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context, h2, sizeof h2);
  SSL* ssl = SSL_new(context);
  const int fd = ConnectTo(address);
  SSL_set_fd(ssl, fd);
  const bool shook = SSL_connect(ssl) == 1;
  SSL_free(ssl);
  SSL_CTX_free(context);
  close(fd);
  return shook;
}

TEST_F(TlsTest, VersionsBelow12AreRefusedAlsoAfterAReload) {
  signal(SIGPIPE, SIG_IGN);  // the server may hang up while OpenSSL writes
  Start(ca_.Issue());
  for (const bool reloaded : {false, true}) {
    SCOPED_TRACE(reloaded);
    if (reloaded) Reload("TLS files are read");
    EXPECT_FALSE(Shakes(server_->tcp_address(), TLS1_VERSION));
    EXPECT_FALSE(Shakes(server_->tcp_address(), TLS1_1_VERSION));
    EXPECT_TRUE(Shakes(server_->tcp_address(), TLS1_2_VERSION));
    EXPECT_TRUE(Shakes(server_->tcp_address(), TLS1_3_VERSION));
  }
}

// --- client certificates

TEST_F(TlsTest, UnderMutualTlsOnlyACertificateOfTheClientsCaConnects) {
  StartMutual({"--audit-log", folder_.File("audit")});
  EXPECT_EQ(CodeWith(Trusting(ca_, clients_.Issue({.common_name = "carol"}))), "OK");
  EXPECT_EQ(CodeWith(Trusting(ca_)), "UNAVAILABLE/");
  EXPECT_EQ(CodeWith(Trusting(ca_, other_ca_.Issue())), "UNAVAILABLE/");
  EXPECT_EQ(CodeWith(Trusting(ca_, ca_.Issue())), "UNAVAILABLE/") << "the server's CA is not the clients'";
  EXPECT_EQ(CodeWith(Trusting(ca_, clients_.Issue({.valid_until = -absl::Hours(1)}))), "UNAVAILABLE/");
  EXPECT_EQ(CodeWith(grpc::InsecureChannelCredentials()), "UNAVAILABLE/");
}

TEST_F(TlsTest, WithoutTokensACertificateIsAnAdminAndIsNamedInTheAuditLog) {
  StartMutual({"--audit-log", folder_.File("audit")});
  v1::DeleteMemoryRequest request;
  v1::DeleteMemoryResponse response;
  request.set_name("none");
  RawClient carol(server_->tcp_address(),
                  {.credentials = Trusting(ca_, clients_.Issue({.common_name = "carol"}))});
  EXPECT_EQ(carol.Call(&v1::AdminService::Stub::DeleteMemory, request, &response).code_and_reason,
            "NOT_FOUND/MEMORY_NOT_FOUND");
  RawClient local(server_->address());
  local.Call(&v1::AdminService::Stub::DeleteMemory, request, &response);
  EXPECT_THAT(ReadWholeFile(folder_.File("audit")),
              AllOf(HasSubstr("\"principal\":\"carol\""), HasSubstr("\"principal\":\"local\"")));
}

TEST_F(TlsTest, WithTokensACertificateAloneIsNobody) {
  WriteWholeFile(folder_.File("tokens"), absl::StrCat("x reader * ", std::string(64, '0'), "\n"));
  StartMutual({"--tokens", folder_.File("tokens")});
  EXPECT_EQ(CodeWith(Trusting(ca_, clients_.Issue())), "UNAUTHENTICATED/UNAUTHENTICATED");
}

// --- SIGHUP

TEST_F(TlsTest, SighupSwapsCertificateAndClientCaWhileCallsRunWithoutAnError) {
  StartMutual();
  const IssuedCertificate carol = clients_.Issue();
  std::atomic<bool> stop{false};
  std::atomic<int> calls{0};
  std::vector<std::string> faults;
  std::thread busy([&] {
    RawClient client(server_->tcp_address(), {.credentials = Trusting(ca_, carol)});
    while (!stop) {
      v1::ListMemoriesResponse list;
      const Fault fault = client.Call(&v1::AdminService::Stub::ListMemories, {}, &list);
      if (fault.code_and_reason != "OK") faults.push_back(fault.message);
      ++calls;
    }
  });
  ASSERT_TRUE(Eventually([&] { return calls > 0; }));
  for (int round = 0; round < 3; ++round) {
    Install(other_ca_.Issue());
    WriteWholeFile(folder_.File("clients.pem"), other_ca_.pem());
    Reload("TLS files are read");
    EXPECT_EQ(CodeWith(Trusting(other_ca_, other_ca_.Issue())), "OK");
    EXPECT_EQ(CodeWith(Trusting(other_ca_, carol)), "UNAVAILABLE/");
    EXPECT_EQ(CodeWith(Trusting(ca_, other_ca_.Issue())), "UNAVAILABLE/");
    Install(ca_.Issue());
    WriteWholeFile(folder_.File("clients.pem"), clients_.pem());
    Reload("TLS files are read");
    EXPECT_EQ(CodeWith(Trusting(ca_, carol)), "OK");
  }
  const int before = calls;
  EXPECT_TRUE(Eventually([&] { return calls > before; }));
  stop = true;
  busy.join();
  EXPECT_THAT(faults, IsEmpty());
}

TEST_F(TlsTest, AWrongFileAtSighupKeepsWhatWasThere) {
  Start(ca_.Issue());
  Install({ca_.Issue().certificate, ca_.Issue().key});  // as when only one of two files was renewed so far
  Reload("server.key is not the key of the certificate in");
  EXPECT_EQ(CodeWith(Trusting(ca_)), "OK");
  Install({"no PEM", ca_.Issue().key});
  Reload("server.pem has no certificate in PEM");
  EXPECT_EQ(CodeWith(Trusting(ca_)), "OK");
  std::filesystem::remove(folder_.File("server.key"));
  Reload("server.key cannot be read");
  EXPECT_EQ(CodeWith(Trusting(ca_)), "OK");
}

TEST_F(TlsTest, AWrongFileAtStartEndsItWithTheUsageCodeAndItsName) {
  Install({ca_.Issue().certificate, ca_.Issue().key});
  for (const char* check : {"--check-config", "--log-level=info"}) {
    const Finished refused = RunProgram(
        {kEvoked, check, "--data-dir", folder_.File("data"), "--listen", "127.0.0.1:0", "--http-listen",
         "off", "--tls-certificate", folder_.File("server.pem"), "--tls-key", folder_.File("server.key")});
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_THAT(refused.err, AllOf(HasSubstr("server.key is not the key"), Not(HasSubstr("BEGIN"))));
  }
}

TEST_F(TlsTest, AKeyThatOthersCanReadIsWarnedOf) {
  Install(ca_.Issue());
  Start(ca_.Issue());
  EXPECT_THAT(server_->Log(), Not(HasSubstr("chmod")));
  std::filesystem::permissions(folder_.File("server.key"), std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  Reload("chmod 600");
}

// --- hostile connections

// Whether the other side hangs up.
bool HungUp(int fd) {
  char byte[256];
  for (;;) {
    const ssize_t got = recv(fd, byte, sizeof byte, MSG_DONTWAIT);
    if (got == 0) return true;
    if (got < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
  }
}

// Each connection says nothing, or so much of a beginning, and then holds the line.
void HoldManyLines(const std::string& address, const std::vector<std::string>& beginnings,
                   const std::function<void()>& others) {
  std::vector<int> held;
  for (int i = 0; i < 200; ++i) {
    const std::string& beginning = beginnings[static_cast<size_t>(i) % beginnings.size()];
    held.push_back(ConnectTo(address));
    EXPECT_EQ(send(held.back(), beginning.data(), beginning.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(beginning.size()));
  }
  others();
  EXPECT_TRUE(Eventually([&] {
    std::erase_if(held, [](int fd) { return HungUp(fd) && close(fd) == 0; });
    return held.empty();
  })) << held.size()
      << " are still held";
}

TEST_F(TlsTest, ConnectionsThatNeverFinishAHandshakeKeepNobodyOutAndAreDropped) {
  Start(ca_.Issue(), {"--handshake-timeout", "1s"});
  const std::string hello_of_512_bytes("\x16\x03\x01\x02\x00\x01", 6);
  HoldManyLines(server_->tcp_address(), {"", "\x16", hello_of_512_bytes},
                [&] { EXPECT_EQ(CodeWith(Trusting(ca_)), "OK"); });
  EXPECT_EQ(CodeWith(Trusting(ca_)), "OK");
}

TEST_F(TlsTest, WithoutTlsTheSame) {
  ServerProcess plain({"--listen", "127.0.0.1:0", "--handshake-timeout", "1s"});
  plain.Start();
  const auto serves = [&] {
    RawClient client(plain.tcp_address());
    v1::ListMemoriesResponse list;
    EXPECT_EQ(client.Call(&v1::AdminService::Stub::ListMemories, {}, &list).code_and_reason, "OK");
  };
  HoldManyLines(plain.tcp_address(), {"", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, serves);
  serves();
}

}  // namespace
}  // namespace evoke::testing
