// One CUDA thread of the running block.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "../device/abi.h"
#include "fiber.h"

namespace simulator {

// Of a warp, at most; how many there are is the machine's (`Machine::warp`).
constexpr unsigned kMostLanes = 64;
// Of CUDA's warps, for which its matrix instructions are made.
constexpr unsigned kCudaWarp = 32;

struct Collective;

// A copy from global to shared memory that was issued and is not complete.
struct AsyncCopy {
  uint32_t shared;  // address in the shared window
  const void *global;
  int size, source_size;
};

// What a thread says where it waits for all of its block.
struct Barrier {
  int line = 0;
  char reduction = 0;         // or one of '+', '&', '|' over the values
  int value = 0;              // then the result
  bool orders_memory = true;  // AMD's does not by itself
};

enum class State { kReady, kAtBarrier, kAtCollective, kFinished };

struct Thread {
  Context context;
  State state = State::kReady;
  unsigned number = 0;  // within the block
  unsigned lane = 0, warp = 0;
  SimulatorIndex index{};

  Collective *collective = nullptr;  // what it waits for at kAtCollective; lives on its stack

  Barrier barrier;  // what it waits for at kAtBarrier

  std::vector<AsyncCopy> open_copies;                   // issued since the last commit
  std::deque<std::vector<AsyncCopy>> committed_copies;  // oldest group first

  // What it knows of the other lanes' progress by warp barriers: known[lane] >= t means that all the lane did up to its
  // time t came before. Its own time is known[its lane].
  std::array<uint16_t, kMostLanes> known{};
};

}  // namespace simulator
