#include "machine.h"

namespace simulator {

namespace {
Machine current_machine;
}

const Machine &machine() { return current_machine; }

void set_machine(const Machine &machine) { current_machine = machine; }

Settings &settings() {
  static Settings current;
  return current;
}

}  // namespace simulator
