#include "storage/rocksdb_logger.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <utility>

namespace evoke {
namespace {

constexpr off_t kMaxBytes = 1 << 20;

class ForgivingLogger final : public rocksdb::Logger {
 public:
  explicit ForgivingLogger(std::string folder)
      : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), path_(folder.empty() ? "" : folder + "/LOG") {}
  ~ForgivingLogger() override {
    if (fd_ >= 0) ::close(fd_);
  }

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[4096];
    const std::time_t now = std::time(nullptr);
    std::tm utc;
    size_t used = std::strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ ", ::gmtime_r(&now, &utc));
    const int n = std::vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    if (n <= 0) return;
    used = std::min(used + static_cast<size_t>(n), sizeof line - 2);
    if (line[used - 1] != '\n') line[used++] = '\n';
    const std::lock_guard lock(mu_);
    if (fd_ < 0) Open();
    if (fd_ < 0 || bytes_ > kMaxBytes) return;
    bytes_ += std::max<ssize_t>(::write(fd_, line, used), 0);
  }

 private:
  // At the first message, when RocksDB has made the folder.
  void Open() {
    if (path_.empty()) return;
    struct stat found;
    if (::stat(path_.c_str(), &found) == 0 && found.st_size > kMaxBytes) {
      std::rename(path_.c_str(), (path_ + ".old").c_str());
    }
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd_ >= 0 && ::fstat(fd_, &found) == 0) bytes_ = found.st_size;
  }

  const std::string path_;
  std::mutex mu_;  // guards the rest
  int fd_ = -1;
  off_t bytes_ = 0;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeRocksDbLogger(const std::string& folder) {
  return std::make_shared<ForgivingLogger>(folder);
}

}  // namespace evoke
