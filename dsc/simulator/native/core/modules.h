// Images and their kernels as drivers of GPUs give them out. What a function returns is an `Error`.
#pragma once
#include "launch.h"

namespace simulator {

int load_module(void **module, const void *bytes);
int unload_module(void *module);
int module_function(void **function, void *module, const char *name);
// `arguments` are read before it returns, whenever the stream gets to the launch.
int launch_function(void *stream, void *function, SimulatorIndex grid, SimulatorIndex block, size_t dynamic_shared,
                    void **arguments);

}  // namespace simulator
