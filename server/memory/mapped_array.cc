#include "server/memory/mapped_array.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace evoke::memory_internal {
namespace {

// Below, a mapping of its own would waste more of its last page than laziness saves: a process may hold
// thousands of small memories, each of several arrays.
constexpr size_t kMapFrom = size_t{1} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

void* MapZeros(size_t bytes, bool huge_pages) {
  if (bytes < kMapFrom) return std::calloc(1, bytes);
  // NORESERVE: what is never written must not count against the machine's limit.
  void* data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  // Advice only: without huge pages a scan is slower, not wrong.
  if (huge_pages && bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

void Unmap(void* data, size_t bytes) {
  if (bytes < kMapFrom) {
    std::free(data);
  } else {
    munmap(data, bytes);
  }
}

void Rezero(void* data, size_t bytes) {
  if (bytes < kMapFrom || madvise(data, bytes, MADV_DONTNEED) != 0) std::memset(data, 0, bytes);
}

}  // namespace evoke::memory_internal
