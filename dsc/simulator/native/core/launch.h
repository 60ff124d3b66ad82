// Libraries that translated sources were compiled to, and launches of their kernels.
#pragma once
#include <string>

#include "worker.h"

namespace simulator {

// An image is this header and a shared library, as Python writes it (dsc/simulator/image.py).
constexpr char kImageMagic[8] = {'D', 'S', 'C', 'S', 'I', 'M', '0', '2'};
struct ImageHeader {
  char magic[8];
  uint64_t size;  // of the library
  uint64_t id;    // by which Python finds the source
};

// Null, and why, where the bytes are no image of this simulator. `error` is for a person.
Image *load_image(const void *bytes, std::string &error);
void unload_image(Image *image);
const SimulatorKernel *find_kernel(const Image &image, const char *name);

// Run all blocks. False when the kernel broke a rule, or asks for more than the machine has: see Faults.
bool launch(const Image &image, const SimulatorKernel &kernel, SimulatorIndex grid, SimulatorIndex block,
            size_t dynamic_shared, void **arguments);

}  // namespace simulator
