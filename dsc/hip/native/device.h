// AMD's GPUs as devices of TVM's runtime.
#pragma once
#include <tvm/runtime/device_api.h>

#include <string>

namespace dsc::hip {

// Why GPU number `device` cannot be used: the library is missing, the driver refuses, there are fewer. Empty if it can.
std::string problem(int device);

// What HIP calls its instruction set: "gfx942:sramecc+:xnack-".
std::string architecture(int device);

// Memory, copies, streams of the GPUs that HIP shows. One for the process, which lives as long.
tvm::runtime::DeviceAPI *device_api();

}  // namespace dsc::hip
