// The shim; what it does is told in fault_preload.h. Every function here has the name and type of the C library's.
#include "tests/testing/fault_preload.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using evoke::testing::FaultControl;

template <typename Function>
Function Real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) Real<decltype(&name)>(#name)

constexpr int kMaxFds = 1 << 16;
std::atomic<bool> below_folder[kMaxFds];  // by descriptor
FaultControl* control = nullptr;
std::string* folder = nullptr;
int journal = -1;

__attribute__((constructor)) void Begin() {
  const char* file = std::getenv("FAULT_CONTROL");
  const char* below = std::getenv("FAULT_FOLDER");
  if (file == nullptr || below == nullptr) return;
  static const auto open_file = REAL(open);
  const int fd = open_file(file, O_RDWR | O_CLOEXEC);
  void* mapped = mmap(nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd < 0 || mapped == MAP_FAILED) std::abort();
  journal = open_file((std::string(file) + ".journal").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  folder = new std::string(below);
  control = static_cast<FaultControl*>(mapped);
}

bool IsBelow(const char* path) {
  return control != nullptr && std::strncmp(path, folder->c_str(), folder->size()) == 0;
}

bool IsBelow(int fd) { return control != nullptr && fd >= 0 && fd < kMaxFds && below_folder[fd].load(); }

void Journal(const std::string& line) {
  static const auto real = REAL(write);
  const std::string whole = line + "\n";
  if (real(journal, whole.data(), whole.size()) < 0) std::abort();
}

std::string PathOf(int fd) {
  char path[4096];
  const ssize_t n = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return {path, static_cast<size_t>(std::max<ssize_t>(n, 0))};
}

// How much of a write fits; -1, and the reason in errno, when nothing does.
ssize_t Fit(int fd, size_t bytes) {
  if (!IsBelow(fd)) return static_cast<ssize_t>(bytes);
  int64_t left = control->free_bytes.load();
  while (left != FaultControl::kUnlimited) {
    const int64_t fit = std::min<int64_t>(left, static_cast<int64_t>(bytes));
    if (fit == 0 && bytes > 0) break;
    if (control->free_bytes.compare_exchange_weak(left, left - fit)) return fit;
  }
  if (left == FaultControl::kUnlimited) return static_cast<ssize_t>(bytes);
  ++control->refused_writes;
  errno = ENOSPC;
  return -1;
}

int Open(const char* path, int flags, mode_t mode, int (*real)(const char*, int, ...)) {
  struct stat found;
  const bool makes = IsBelow(path) && (flags & O_CREAT) != 0 && stat(path, &found) != 0;
  if (makes && control->free_bytes == 0) {
    ++control->refused_writes;
    errno = ENOSPC;
    return -1;
  }
  const int fd = real(path, flags, mode);
  if (fd >= 0 && fd < kMaxFds) below_folder[fd] = IsBelow(path);
  if (makes && fd >= 0) Journal(std::string("C ") + path);
  return fd;
}

int Sync(int fd) {
  struct stat before;
  if (fstat(fd, &before) != 0) return -1;
  ++control->waiting_syncs;
  while (control->syncs_held != 0) usleep(1000);
  --control->waiting_syncs;
  for (int64_t left = control->failing_syncs; left > 0;) {
    if (!control->failing_syncs.compare_exchange_weak(left, left - 1)) continue;
    ++control->failed_syncs;
    errno = EIO;
    return -1;
  }
  Journal(S_ISDIR(before.st_mode) ? "D " + PathOf(fd) : "S " + std::to_string(before.st_size) + " " + PathOf(fd));
  return 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  static const auto real = REAL(open);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return Open(path, flags, mode, real);
}

int open64(const char* path, int flags, ...) {
  static const auto real = REAL(open64);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return Open(path, flags, mode, real);
}

int close(int fd) {
  static const auto real = REAL(close);
  if (fd >= 0 && fd < kMaxFds) below_folder[fd] = false;
  return real(fd);
}

ssize_t write(int fd, const void* data, size_t bytes) {
  static const auto real = REAL(write);
  const ssize_t fit = Fit(fd, bytes);
  return fit < 0 ? fit : real(fd, data, static_cast<size_t>(fit));
}

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) {
  static const auto real = REAL(pwrite);
  const ssize_t fit = Fit(fd, bytes);
  return fit < 0 ? fit : real(fd, data, static_cast<size_t>(fit), offset);
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t offset) {
  static const auto real = REAL(pwrite64);
  const ssize_t fit = Fit(fd, bytes);
  return fit < 0 ? fit : real(fd, data, static_cast<size_t>(fit), offset);
}

int fsync(int fd) {
  static const auto real = REAL(fsync);
  return IsBelow(fd) ? Sync(fd) : real(fd);
}

int fdatasync(int fd) {
  static const auto real = REAL(fdatasync);
  return IsBelow(fd) ? Sync(fd) : real(fd);
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = REAL(rename);
  const int result = real(from, to);
  if (result == 0 && IsBelow(from)) Journal(std::string("R ") + from + "\t" + to);
  return result;
}

int unlink(const char* path) noexcept {
  static const auto real = REAL(unlink);
  const int result = real(path);
  if (result == 0 && IsBelow(path)) Journal(std::string("U ") + path);
  return result;
}

int statvfs(const char* path, struct statvfs* found) noexcept {
  static const auto real = REAL(statvfs);
  const int result = real(path, found);
  if (result != 0 || !IsBelow(path)) return result;
  const int64_t left = control->free_bytes;
  if (left != FaultControl::kUnlimited) found->f_bavail = static_cast<uint64_t>(left) / found->f_frsize;
  return result;
}

// --- the wall clock ------------------------------------------------------------------------------------------------

int clock_gettime(clockid_t clock, struct timespec* now) noexcept {
  static const auto real = REAL(clock_gettime);
  const int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && control != nullptr) now->tv_sec += control->clock_shift_seconds;
  return result;
}

int gettimeofday(struct timeval* now, void* zone) noexcept {
  static const auto real = REAL(gettimeofday);
  const int result = real(now, zone);
  if (result == 0 && control != nullptr) now->tv_sec += control->clock_shift_seconds;
  return result;
}

// A wait until a time of the wall clock: the kernel's is not shifted.
long syscall(long number, ...) noexcept {
  static const auto real = REAL(syscall);
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (long& argument : a) argument = va_arg(rest, long);
  va_end(rest);
  struct timespec until;
  const int command = static_cast<int>(a[1]);
  if (number == SYS_futex && control != nullptr && (command & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
      (command & FUTEX_CLOCK_REALTIME) != 0 && a[3] != 0) {
    until = *reinterpret_cast<const struct timespec*>(a[3]);
    until.tv_sec = std::max<time_t>(until.tv_sec - control->clock_shift_seconds, 0);
    a[3] = reinterpret_cast<long>(&until);
  }
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // extern "C"
