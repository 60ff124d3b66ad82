// What a translated kernel of AMD's asks of the simulator beside abi.h: dsc/simulator/amd writes the calls.
//
// `line` is the instruction's, in LLVM's text: lanes that wait at one line do one instruction together.
#pragma once
#include "abi.h"

#pragma GCC visibility push(default)
extern "C" {

// Of dimension 0, 1 or 2.
unsigned simulator_amd_workitem(int dimension) SIMULATOR_CONST;
unsigned simulator_amd_workgroup(int dimension) SIMULATOR_CONST;

// The barrier of a workgroup. Without fences before and after it threads wait, but memory is not ordered.
void simulator_amd_barrier(int line, int is_fenced);

// Accesses to memory that are about to happen. `alignment`: what the instruction promises of the address.
void simulator_amd_load(const void *address, size_t size, size_t alignment);
void simulator_amd_store(void *address, size_t size, size_t alignment);
void simulator_amd_atomic(void *address, size_t size);
// LLVM's memcpy (or memmove) and memset: the check and the deed.
void simulator_amd_copy(void *to, const void *from, size_t size);
void simulator_amd_fill(void *to, uint8_t byte, size_t size);

// How many lanes before this one have their bit set, of the lower and the upper 32; added to `base`.
uint32_t simulator_amd_count_below(int half, uint32_t mask, uint32_t base);

// Registers of other lanes. A lane reads zero from one that takes no part, as the instruction sets say.
uint32_t simulator_amd_bpermute(int line, uint32_t place, uint32_t bits);
uint32_t simulator_amd_permute(int line, uint32_t place, uint32_t bits);
uint32_t simulator_amd_swizzle(int line, uint32_t bits, uint32_t pattern);
uint32_t simulator_amd_dpp(int line, uint32_t old, uint32_t bits, uint32_t control, uint32_t row_mask,
                           uint32_t bank_mask, int bound_control);
uint32_t simulator_amd_read_lane(int line, uint32_t bits, uint32_t lane);
uint32_t simulator_amd_read_first_lane(int line, uint32_t bits);

// Products of four bytes, summed; each factor signed or not.
int32_t simulator_amd_dot4(int a_signed, uint32_t a, int b_signed, uint32_t b, int32_t sum, int saturates);

// Products of matrices that the lanes of a wavefront hold. Where element (row or column `line`, depth k) of a factor
// lies, and (row, column) of a sum, is the layout's: core/amd_matrix.cpp.
enum SimulatorAmdLayout { SIMULATOR_MFMA, SIMULATOR_WMMA_REPEATED, SIMULATOR_WMMA };
struct SimulatorAmdMatrix {
  int layout;  // SimulatorAmdLayout
  int m, n, k;
  int a, b, sum;  // SimulatorType
  int saturates;
};
void simulator_amd_matrix(int line, const SimulatorAmdMatrix *what, const void *a, const void *b, const void *c,
                          void *d);
}
#pragma GCC visibility pop
