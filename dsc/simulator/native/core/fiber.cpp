#include "fiber.h"

#include <sys/mman.h>

#include <new>

// The System V ABI keeps rbx, rbp and r12 to r15 over calls; all else is the caller's.
asm(R"(
.text
.hidden simulator_switch
.globl simulator_switch
.type simulator_switch, @function
simulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov (%rsi), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size simulator_switch, . - simulator_switch
)");

extern "C" void simulator_switch(void *from, const void *to);

namespace simulator {

namespace {
constexpr size_t kPage = 4096;
constexpr int kSavedRegisters = 6;
}  // namespace

void switch_context(Context &from, const Context &to) { simulator_switch(&from.stack_pointer, &to.stack_pointer); }

Stacks::~Stacks() {
  for (char *stack : stacks_) munmap(stack - kPage, kSize + kPage);
}

void Stacks::reserve(size_t count) {
  while (stacks_.size() < count) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(nullptr, kSize + kPage, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) throw std::bad_alloc();
    stacks_.push_back(static_cast<char *>(memory) + kPage);
  }
}

Context Stacks::prepare(size_t number, void (*entry)()) {
  void **top = reinterpret_cast<void **>(stacks_[number] + kSize);
  *--top = nullptr;  // the return address of `entry`, which never returns; keeps the stack aligned as after a call
  *--top = reinterpret_cast<void *>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  return Context{top};
}

}  // namespace simulator
