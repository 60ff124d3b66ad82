#include "hip_properties.h"

#include <cstring>

#include "errors.h"
#include "machine.h"

namespace simulator {

namespace {

// Where members are, in bytes: offsetof in hip/hip_runtime_api.h of HIP 5.2, and of ROCm 6.0.
struct Places {
  size_t size, name, memory, shared, registers, warp, threads, major, minor, processors, l2, arch;
};
constexpr Places kR0000 = {792, 0, 256, 264, 272, 276, 280, 328, 332, 336, 340, 396};
constexpr Places kR0600 = {1472, 0, 288, 296, 304, 308, 320, 360, 364, 388, 616, 1160};

}  // namespace

void fill_properties(void *properties, HipLayout layout) {
  const Places &places = layout == HipLayout::kR0000 ? kR0000 : kR0600;
  auto *bytes = static_cast<char *>(properties);
  auto put = [bytes](size_t place, auto value) { memcpy(bytes + place, &value, sizeof(value)); };
  const Machine &known = machine();
  memset(bytes, 0, places.size);
  strcpy(bytes + places.name, kHipName);
  strcpy(bytes + places.arch, known.arch);
  put(places.memory, known.memory);
  put(places.shared, static_cast<size_t>(known.shared_bytes));
  put(places.registers, known.registers);
  put(places.warp, known.warp);
  put(places.threads, known.max_threads);
  put(places.major, known.major);
  put(places.minor, known.minor);
  put(places.processors, known.processors);
  put(places.l2, known.l2_bytes);
}

}  // namespace simulator
