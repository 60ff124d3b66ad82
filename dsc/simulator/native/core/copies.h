// Copies and events as runtimes of GPUs have them. They are done when a function returns; see streams.h.
#pragma once
#include <cstddef>

namespace simulator {

// Between global memory and the host's, either way. An `Error`: global memory is checked.
int copy_memory(void *to, const void *from, size_t size);
int set_memory(void *to, int byte, size_t size);

struct Event {
  double milliseconds = 0;
};
void record(Event &event);

}  // namespace simulator
