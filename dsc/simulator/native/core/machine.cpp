#include "machine.h"

#include <cstdlib>
#include <cstring>

namespace simulator {

namespace {

// The variable that gives a program that Python does not run its device: the bytes of both structures as hexadecimal
// digits, as dsc/simulator/core.py has them.
constexpr char kVariable[] = "DSC_SIMULATED_DEVICE";

struct State {
  Machine machine;
  Settings settings;

  State() {
    const char *text = getenv(kVariable);
    if (!text || strlen(text) != 2 * (sizeof(Machine) + sizeof(Settings))) return;
    read(text, &machine, sizeof(Machine));
    read(text + 2 * sizeof(Machine), &settings, sizeof(Settings));
  }

  static void read(const char *digits, void *to, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      const char byte[] = {digits[2 * i], digits[2 * i + 1], 0};
      static_cast<char *>(to)[i] = static_cast<char>(strtoul(byte, nullptr, 16));
    }
  }
};

State &state() {
  static State current;
  return current;
}

}  // namespace

const Machine &machine() { return state().machine; }

void set_machine(const Machine &machine) { state().machine = machine; }

Settings &settings() { return state().settings; }

}  // namespace simulator
