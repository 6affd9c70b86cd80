#include "server/service/listen.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/service/health.h"

namespace evoke {
namespace {

// gRPC would remove any socket file, also that of a server which is alive.
absl::Status RemoveStaleSocket(const std::string& path) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) return absl::OkStatus();
  if (!S_ISSOCK(found.st_mode))
    return absl::ResourceExhaustedError(absl::StrCat("unix:", path, ": there is a file that is no socket"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return absl::ResourceExhaustedError(absl::StrCat("socket: ", std::strerror(errno)));
  const bool refused =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
  close(fd);
  if (!refused)
    return absl::ResourceExhaustedError(absl::StrCat("unix:", path, " is in use by another process"));
  unlink(path.c_str());
  return absl::OkStatus();
}

// gRPC's own lines go where ours go, and in their format.
void LogForGrpc(gpr_log_func_args* line) {
  const LogLevel level = line->severity == GPR_LOG_SEVERITY_ERROR  ? LogLevel::kWarn
                         : line->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kInfo
                                                                   : LogLevel::kDebug;
  if (LogsAt(level)) Log(level, "gRPC", {{LogKey::kDetail, line->message}});
}

// What one connection can cost, whoever is at its other end.
void BoundConnections(const ListenOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              static_cast<int>(absl::ToInt64Milliseconds(options.handshake_timeout)));
  // Ours are a token and a few words of gRPC; above it a call ends with RESOURCE_EXHAUSTED.
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  // More calls than that wait at the client; a memory does one turn at a time anyway.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
  // A peer that is gone without a word holds its connection this long, not for ever.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
}

}  // namespace

absl::StatusOr<ListeningServer> Listen(const ListenOptions& options) {
  EnableHealthAndReflection();
  // Protobuf would write a line to stderr for every request that is no message; they are answered and
  // counted.
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_function(LogForGrpc);
  grpc::ServerBuilder builder;
  // Without this, Linux lets two servers share a port, each answering every other client.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  // Room above the limit, so that a request that is a little too large is answered with a reason and both
  // numbers.
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(2 * options.max_message_bytes, std::numeric_limits<int>::max())));
  // Clients that hold idle connections may ping every ten seconds.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  BoundConnections(options, &builder);
  for (grpc::Service* service : options.services) builder.RegisterService(service);

  std::vector<int> ports(options.addresses.size(), 0);
  for (size_t i = 0; i < options.addresses.size(); ++i) {
    const std::string& address = options.addresses[i];
    if (absl::StartsWith(address, "unix:")) EVOKE_RETURN_IF_ERROR(RemoveStaleSocket(address.substr(5)));
    builder.AddListeningPort(
        address, options.credentials ? options.credentials(address) : grpc::InsecureServerCredentials(),
        &ports[i]);
  }
  ListeningServer listening{builder.BuildAndStart(), {}};
  if (listening.server == nullptr) {
    std::vector<std::string> failed;
    for (size_t i = 0; i < ports.size(); ++i) {
      if (ports[i] == 0) failed.push_back(options.addresses[i]);
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot listen on ", absl::StrJoin(failed, ", "), ": in use, or not ours"));
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string& address = options.addresses[i];
    const bool unix = absl::StartsWith(address, "unix:");
    listening.addresses.push_back(unix ? address
                                       : absl::StrCat(address.substr(0, address.rfind(':') + 1), ports[i]));
  }
  return listening;
}

}  // namespace evoke
