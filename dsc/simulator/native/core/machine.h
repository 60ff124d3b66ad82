// The limits of the device that is simulated, set from Python before a simulation begins.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

struct Machine {
  int major = 8, minor = 0;
  int processors = 108;
  int clock_khz = 1410000;
  int max_threads = 1024;  // of a block
  int max_threads_per_processor = 2048;
  int shared_bytes = 48 << 10;         // static, of a block
  int shared_bytes_optin = 163 << 10;  // dynamic, where a kernel asks for it
  int shared_bytes_per_processor = 164 << 10;
  int registers = 65536;
  int l2_bytes = 40 << 20;
  int warp = 32;          // lanes
  int sector_bytes = 32;  // of global memory, that are moved together
  size_t memory = size_t{40} << 30;
  char arch[32] = "";  // what HIP calls the instruction set; CUDA tells it by `major` and `minor`
};

// How lanes, warps and blocks follow one another between two points where they wait.
enum class OrderKind : int { kForward, kReverse, kRandom };

struct Settings {
  bool active = false;  // whether there is a device
  OrderKind order = OrderKind::kForward;
  uint64_t seed = 0;
  bool counts = true;
  int workers = 1;
};

const Machine &machine();
Settings &settings();
void set_machine(const Machine &machine);

}  // namespace simulator
