// In place of the C library's, in programs with EVOKE_GPU: threads whose stack is asked for in a size get a MiB more.
//
// Thread-local variables of all libraries lie on a thread's stack. cuBLAS has 94 KiB of them and OpenBLAS 60, while
// civetweb asks for stacks of 100 KiB in all: none of its threads could begin, and no HTTP port be opened.
#include <dlfcn.h>
#include <pthread.h>

#include <cstddef>

extern "C" int pthread_attr_setstacksize(pthread_attr_t* attributes, size_t bytes) noexcept {
  using Set = int (*)(pthread_attr_t*, size_t);
  static const auto set = reinterpret_cast<Set>(dlsym(RTLD_NEXT, "pthread_attr_setstacksize"));
  return set(attributes, bytes + (size_t{1} << 20));
}
