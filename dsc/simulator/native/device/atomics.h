// Atomic operations, in global and in shared memory. All give the old value.
#pragma once

template <class T, class Operation>
inline T simulator_atomically(T *address, T operand, T compare, Operation) {
  auto bits = [](T value) {
    uint64_t result = 0;
    memcpy(&result, &value, sizeof(T));
    return result;
  };
  auto value = [](uint64_t bits) {
    T result;
    memcpy(&result, &bits, sizeof(T));
    return result;
  };
  SimulatorCombine combine = [](uint64_t old, uint64_t operand, uint64_t compare) {
    T values[3], result;
    memcpy(&values[0], &old, sizeof(T));
    memcpy(&values[1], &operand, sizeof(T));
    memcpy(&values[2], &compare, sizeof(T));
    result = Operation()(values[0], values[1], values[2]);
    uint64_t combined = 0;
    memcpy(&combined, &result, sizeof(T));
    return combined;
  };
  return value(simulator_atomic(address, sizeof(T), combine, bits(operand), bits(compare)));
}

// `new_value` is in terms of old, operand and compare, all of type T.
#define SIMULATOR_ATOMIC(name, new_value)                                                      \
  template <class T>                                                                           \
  struct simulator_##name {                                                                    \
    T operator()(T old, T operand, T compare) const {                                          \
      (void)old, (void)operand, (void)compare;                                                 \
      return new_value;                                                                        \
    }                                                                                          \
  };                                                                                           \
  template <class T>                                                                           \
  inline T name(T *address, std::common_type_t<T> operand) {                                   \
    return simulator_atomically(address, static_cast<T>(operand), T{}, simulator_##name<T>()); \
  }

SIMULATOR_ATOMIC(atomicAdd, static_cast<T>(old + operand))
SIMULATOR_ATOMIC(atomicSub, static_cast<T>(old - operand))
SIMULATOR_ATOMIC(atomicMin, operand < old ? operand : old)
SIMULATOR_ATOMIC(atomicMax, operand > old ? operand : old)
SIMULATOR_ATOMIC(atomicAnd, old &operand)
SIMULATOR_ATOMIC(atomicOr, old | operand)
SIMULATOR_ATOMIC(atomicXor, old ^ operand)
SIMULATOR_ATOMIC(atomicExch, operand)
SIMULATOR_ATOMIC(atomicInc, old >= operand ? T{0} : static_cast<T>(old + 1))
SIMULATOR_ATOMIC(atomicDec, old == 0 || old > operand ? operand : static_cast<T>(old - 1))
#undef SIMULATOR_ATOMIC

template <class T>
struct simulator_compare_and_swap {
  T operator()(T old, T operand, T compare) const { return old == compare ? operand : old; }
};
template <class T>
inline T atomicCAS(T *address, std::common_type_t<T> compare, std::common_type_t<T> value) {
  return simulator_atomically(address, static_cast<T>(value), static_cast<T>(compare), simulator_compare_and_swap<T>());
}

// Loads through the read-only cache and with hints, which change nothing here.
template <class T>
inline T __ldg(const T *address) {
  return *address;
}
template <class T>
inline T __ldcg(const T *address) {
  return *address;
}
template <class T>
inline T __ldca(const T *address) {
  return *address;
}
template <class T>
inline T __ldcs(const T *address) {
  return *address;
}
template <class T>
inline void __stcs(T *address, T value) {
  *address = value;
}
template <class T>
inline void __stcg(T *address, T value) {
  *address = value;
}
