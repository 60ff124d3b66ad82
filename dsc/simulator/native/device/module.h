// The table of a source file's kernels; the last lines of a translated file.
#pragma once
#include <utility>

#include "abi.h"

namespace simulator {

template <class... Arguments>
constexpr int count(void (*)(Arguments...)) {
  return sizeof...(Arguments);
}

// With a zero at the end, as there may be none.
template <class... Arguments>
struct ArgumentBytes {
  static constexpr int values[] = {static_cast<int>(sizeof(Arguments))..., 0};
};

template <class... Arguments>
constexpr const int *argument_bytes(void (*)(Arguments...)) {
  return ArgumentBytes<Arguments...>::values;
}

template <class... Arguments, size_t... Index>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(Arguments...), void **arguments,
                                                 std::index_sequence<Index...>) {
  kernel(*static_cast<std::remove_const_t<Arguments> *>(arguments[Index])...);
}

template <class... Arguments>
void call(void (*kernel)(Arguments...), void **arguments) {
  call(kernel, arguments, std::index_sequence_for<Arguments...>());
}

}  // namespace simulator

#define SIMULATOR_KERNEL(kernel, max_threads) \
  {#kernel, [](void **arguments) { simulator::call(&kernel, arguments); }, simulator::count(&kernel), max_threads, \
   simulator::argument_bytes(&kernel)}
