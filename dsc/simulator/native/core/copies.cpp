#include "copies.h"

#include <chrono>
#include <cstring>

#include "errors.h"
#include "global_memory.h"

namespace simulator {

namespace {

bool is_outside(const void *address, size_t size) {
  return size && in_global_range(address) && !in_one_allocation(address, size);
}

}  // namespace

int copy_memory(void *to, const void *from, size_t size) {
  if (is_outside(to, size) || is_outside(from, size)) return kInvalidValue;
  memcpy(to, from, size);
  return kSuccess;
}

int set_memory(void *to, int byte, size_t size) {
  if (is_outside(to, size)) return kInvalidValue;
  memset(to, byte, size);
  return kSuccess;
}

void record(Event &event) {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  event.milliseconds = std::chrono::duration<double, std::milli>(now).count();
}

}  // namespace simulator
