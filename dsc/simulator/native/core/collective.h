// What the lanes of a warp do together: each lane waits with its part until all that take part are there.
#pragma once
#include "machine.h"
#include "thread.h"

namespace simulator {

struct Collective;

// The parts of the lanes that have arrived.
struct Lanes {
  SimulatorMask mask = 0;
  Collective *parts[kMostLanes] = {};
};

struct Collective {
  const char *name;
  // Computes the results of all lanes at once.
  void (*execute)(Lanes &lanes);
  // Lanes that must take part; 0: whoever is there when no lane of the warp can go on.
  SimulatorMask mask;
  // What must be the same in all lanes beside `execute` and `mask`, such as the shape of a matrix.
  const void *variant = nullptr;
  // Whether lanes that have ended are missed: instructions that PTX calls aligned need all of the warp.
  bool is_aligned = false;

  Collective(const char *name, void (*execute)(Lanes &), SimulatorMask mask)
      : name(name), execute(execute), mask(mask) {}
};

inline SimulatorMask full_warp() { return ~SimulatorMask{0} >> (kMostLanes - static_cast<unsigned>(machine().warp)); }

// An instruction of all lanes of a warp.
struct AlignedCollective : Collective {
  AlignedCollective(const char *name, void (*execute)(Lanes &), const void *variant = nullptr)
      : Collective(name, execute, full_warp()) {
    this->variant = variant;
    is_aligned = true;
  }
};

// For each lane that takes part, its part as what it is.
template <class Part, class Function>
void for_each_lane(Lanes &lanes, Function function) {
  for (unsigned lane = 0; lane < kMostLanes; ++lane)
    if (lanes.mask >> lane & 1) function(lane, *static_cast<Part *>(lanes.parts[lane]));
}

// Wait until the collective has been executed. Faults where it never can be.
void take_part(Collective &collective);

}  // namespace simulator
