#include "tests/testing/fibers.h"

#include <ucontext.h>

#include "server/base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// What swapcontext does less its system call, and less what sanitizers make of longjmp: a kernel switches millions of times.
// Registers that a callee must keep go on the stack, and its end to *save; then the same backwards from `to`.
extern "C" void EvokeSwitchStack(void** save, void* to);
asm(R"(
  .text
  .type EvokeSwitchStack, @function
EvokeSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size EvokeSwitchStack, . - EvokeSwitchStack
)");
#endif

namespace evoke::testing {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // most of which is never touched

thread_local Fibers* entering = nullptr;

}  // namespace

struct Fibers::Fiber {
  std::unique_ptr<char[]> stack;
  const void* bottom = nullptr;  // of the stack; of the main one as the sanitizer tells it
  size_t size_bytes = 0;
  void* fake_stack = nullptr;
  bool done = true;
#if defined(__x86_64__)
  void* end = nullptr;  // of its stack, while others run

  void Prepare(void (*enter)()) {
    // As if it had been switched from at the first instruction of `enter`, six registers above: there the end of the stack,
    // plus 8, is a multiple of 16.
    auto top = reinterpret_cast<uintptr_t>(stack.get() + kStackBytes) / 16 * 16;
    void** words = reinterpret_cast<void**>(top);
    *--words = nullptr;
    *--words = reinterpret_cast<void*>(enter);
    for (int i = 0; i < 6; ++i) *--words = nullptr;
    end = words;
  }
  void Switch(Fiber* to) { EvokeSwitchStack(&end, to->end); }
#else
  ucontext_t context;

  void Prepare(void (*enter)()) {
    EVOKE_CHECK(getcontext(&context) == 0);
    context.uc_stack.ss_sp = stack.get();
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, enter, 0);
  }
  void Switch(Fiber* to) { EVOKE_CHECK(swapcontext(&context, &to->context) == 0); }
#endif

  void FinishSwitch([[maybe_unused]] Fiber* from) {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom_before = nullptr;
    size_t size_before = 0;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom_before, &size_before);
    if (from != nullptr) {
      from->bottom = bottom_before;
      from->size_bytes = size_before;
    }
#endif
  }
  void SwitchTo(Fiber* to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack, to->bottom, to->size_bytes);
#endif
    Switch(to);
    FinishSwitch(nullptr);
  }
};

Fibers::Fibers(uint32_t count) : main_(std::make_unique<Fiber>()) {
  for (uint32_t i = 0; i < count; ++i) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack.reset(new char[kStackBytes]);
    fiber->bottom = fiber->stack.get();
    fiber->size_bytes = kStackBytes;
    fiber->Prepare([] { Enter(entering); });
    fibers_.push_back(std::move(fiber));
  }
}

Fibers::~Fibers() = default;

void Fibers::Begin(const std::function<void()>& body) {
  body_ = &body;
  for (const auto& fiber : fibers_) {
    EVOKE_CHECK(fiber->done);
    fiber->done = false;
  }
}

bool Fibers::Resume(uint32_t i) {
  current_ = i;
  entering = this;
  main_->SwitchTo(fibers_[i].get());
  return fibers_[i]->done;
}

void Fibers::Yield() { fibers_[current_]->SwitchTo(main_.get()); }

void Fibers::Enter(Fibers* fibers) {
  Fiber* const self = fibers->fibers_[fibers->current_].get();
  self->FinishSwitch(fibers->main_.get());
  for (;;) {
    (*fibers->body_)();
    self->done = true;
    self->SwitchTo(fibers->main_.get());
  }
}

}  // namespace evoke::testing
