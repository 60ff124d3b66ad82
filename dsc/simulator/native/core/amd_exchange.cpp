// Lanes of a wavefront read each other's registers: ds_bpermute and its kin, as the instruction sets' guides have them.
//
// Lanes that wait at one instruction take part in it; where a branch divides a wavefront each side does so by itself.
#include "../device/amd.h"
#include "collective.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

constexpr unsigned kRow = 16;  // lanes, of DPP
constexpr unsigned kSwizzled = 32;
constexpr int kNone = -1;

const void *site_of(int line) { return reinterpret_cast<const void *>(static_cast<intptr_t>(line)); }

unsigned lanes_of_warp() { return static_cast<unsigned>(machine().warp); }

// Each lane offers its bits and takes those of the lane `from`; what it has if it takes none is there before.
struct Exchange : Collective {
  uint32_t bits;
  int from;
  uint32_t result;

  Exchange(const char *name, int line, uint32_t bits, int from, uint32_t otherwise)
      : Collective(name, execute_all, 0), bits(bits), from(from), result(otherwise) {
    variant = site_of(line);
  }

  static void execute_all(Lanes &lanes) {
    for_each_lane<Exchange>(lanes, [&](unsigned, Exchange &part) {
      if (part.from != kNone && lanes.mask >> part.from & 1)
        part.result = static_cast<Exchange *>(lanes.parts[part.from])->bits;
    });
  }
};

uint32_t exchanged(const char *name, int line, uint32_t bits, int from, uint32_t otherwise) {
  Exchange part(name, line, bits, from, otherwise);
  take_part(part);
  return part.result;
}

// Each lane gives its bits to the lane `to`; of several the last one wins.
struct Permute : Collective {
  uint32_t bits;
  unsigned to;
  uint32_t result = 0;

  Permute(int line, uint32_t bits, unsigned to) : Collective("ds_permute", execute_all, 0), bits(bits), to(to) {
    variant = site_of(line);
  }

  static void execute_all(Lanes &lanes) {
    for_each_lane<Permute>(lanes, [&](unsigned, Permute &part) {
      if (lanes.mask >> part.to & 1) static_cast<Permute *>(lanes.parts[part.to])->result = part.bits;
    });
  }
};

struct FirstLane : Collective {
  uint32_t bits, result = 0;

  FirstLane(int line, uint32_t bits) : Collective("v_readfirstlane", execute_all, 0), bits(bits) {
    variant = site_of(line);
  }

  static void execute_all(Lanes &lanes) {
    uint32_t first = static_cast<FirstLane *>(lanes.parts[__builtin_ctzll(lanes.mask)])->bits;
    for_each_lane<FirstLane>(lanes, [&](unsigned, FirstLane &part) { part.result = first; });
  }
};

// Of ds_swizzle: four lanes permuted by two bits each, or 32 by masks.
int swizzled(unsigned lane, uint32_t pattern) {
  if (pattern >> 15 & 1) {
    if (pattern >> 8 & 0x7f) fault(nullptr, "executes ds_swizzle with pattern 0x%x, which is not simulated", pattern);
    return static_cast<int>((lane & ~3u) | (pattern >> 2 * (lane & 3) & 3));
  }
  unsigned within = lane % kSwizzled, first = lane - within;
  return static_cast<int>(first + (((within & (pattern & 31)) | (pattern >> 5 & 31)) ^ (pattern >> 10 & 31)));
}

// Of data parallel primitives; kNone where a row ends.
int dpp_source(int lane, uint32_t control) {
  int row = lane & ~static_cast<int>(kRow - 1), within = lane - row, amount = static_cast<int>(control & 15);
  auto inside = [&](int at) { return at >= 0 && at < static_cast<int>(kRow) ? row + at : kNone; };
  if (control <= 0xff) return (lane & ~3) | static_cast<int>(control >> 2 * (lane & 3) & 3);
  switch (control >> 4) {
    case 0x10:
      if (amount) return inside(within + amount);  // row_shl
      break;
    case 0x11:
      if (amount) return inside(within - amount);  // row_shr
      break;
    case 0x12:
      if (amount) return row + ((within - amount) & 15);  // row_ror
      break;
    case 0x14:
      if (amount == 0) return row + 15 - within;            // row_mirror
      if (amount == 1) return row + (within ^ 7);           // row_half_mirror
      if (amount == 2) return row ? row - 1 : kNone;        // row_bcast15
      if (amount == 3) return lane >= 32 ? 31 : kNone;      // row_bcast31
      break;
    case 0x15:
      return row + amount;  // row_share
    case 0x16:
      return row + (within ^ amount);  // row_xmask
  }
  fault(nullptr, "executes an instruction with DPP control 0x%x, which is not simulated", control);
}

}  // namespace

extern "C" {

uint32_t simulator_amd_count_below(int half, uint32_t mask, uint32_t base) {
  unsigned lane = Worker::current()->thread().lane;
  uint64_t before = (uint64_t{1} << lane) - 1;
  return base + static_cast<uint32_t>(__builtin_popcount(mask & static_cast<uint32_t>(before >> 32 * half)));
}

uint32_t simulator_amd_bpermute(int line, uint32_t place, uint32_t bits) {
  return exchanged("ds_bpermute", line, bits, static_cast<int>(place / 4 % lanes_of_warp()), 0);
}

uint32_t simulator_amd_permute(int line, uint32_t place, uint32_t bits) {
  Permute part(line, bits, place / 4 % lanes_of_warp());
  take_part(part);
  return part.result;
}

uint32_t simulator_amd_swizzle(int line, uint32_t bits, uint32_t pattern) {
  return exchanged("ds_swizzle", line, bits, swizzled(Worker::current()->thread().lane, pattern), 0);
}

uint32_t simulator_amd_dpp(int line, uint32_t old, uint32_t bits, uint32_t control, uint32_t row_mask,
                           uint32_t bank_mask, int bound_control) {
  unsigned lane = Worker::current()->thread().lane;
  bool is_chosen = row_mask >> lane / kRow & 1 && bank_mask >> lane % kRow / 4 & 1;
  int from = dpp_source(static_cast<int>(lane), control);
  uint32_t moved = exchanged("an instruction with DPP", line, bits, from, bound_control ? 0 : old);
  return is_chosen ? moved : old;
}

uint32_t simulator_amd_read_lane(int line, uint32_t bits, uint32_t lane) {
  return exchanged("v_readlane", line, bits, static_cast<int>(lane % lanes_of_warp()), 0);
}

uint32_t simulator_amd_read_first_lane(int line, uint32_t bits) {
  FirstLane part(line, bits);
  take_part(part);
  return part.result;
}
}
