// What HIP tells of a device, as the structure hipDeviceProp_t of either layout.
#pragma once

namespace simulator {

// Of headers before ROCm 6, and since.
enum class HipLayout { kR0000, kR0600 };

// Fill the whole structure; what is not known here is 0.
void fill_properties(void *properties, HipLayout layout);

}  // namespace simulator
