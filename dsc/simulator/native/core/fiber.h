// Fibers: stacks that one OS thread switches between, one for each CUDA thread of a block.
#pragma once
#include <cstddef>
#include <vector>

namespace simulator {

// Where a suspended flow of control goes on: its stack pointer, with the callee-saved registers on the stack.
struct Context {
  void *stack_pointer = nullptr;
};

// Suspend the running flow in `from` and go on with `to`: some ten instructions, no system call.
void switch_context(Context &from, const Context &to);

// Stacks of equal size between pages that fault, kept for reuse.
class Stacks {
 public:
  static constexpr size_t kSize = 256 << 10;

  ~Stacks();
  // At least so many stacks. Memory is taken when it is touched.
  void reserve(size_t count);
  // A context that starts `entry` on the stack of this number.
  Context prepare(size_t number, void (*entry)());
  char *bottom(size_t number) const { return stacks_[number]; }

 private:
  std::vector<char *> stacks_;
};

}  // namespace simulator
