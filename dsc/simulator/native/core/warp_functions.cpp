// Shuffles, votes, matches, reductions and barriers of a warp.
#include <algorithm>

#include "collective.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

// What a lane gets that reads from a lane which does not take part: undefined, so a NaN.
constexpr uint32_t kPoison = 0xffffffffu;

struct Shuffle : Collective {
  SimulatorShuffle mode;
  uint32_t bits;
  int operand;
  uint32_t clamp;
  bool inside = false;
  uint32_t result = kPoison;

  Shuffle(SimulatorMask mask, SimulatorShuffle mode, uint32_t bits, int operand, uint32_t clamp)
      : Collective("a shuffle", execute_all, mask), mode(mode), bits(bits), operand(operand), clamp(clamp) {}

  // The lane that this one reads from: PTX ISA, shfl.sync. Bits 8 to 12 of the clamp are the segment's mask.
  unsigned source(unsigned lane) {
    int segment = clamp >> 8 & 31, limit = clamp & 31, offset = operand & 31, from = 0;
    int first = static_cast<int>(lane) & segment, last = first | (limit & ~segment);
    switch (mode) {
      case SIMULATOR_SHUFFLE_UP:
        from = static_cast<int>(lane) - offset;
        inside = from >= last;
        break;
      case SIMULATOR_SHUFFLE_DOWN:
        from = static_cast<int>(lane) + offset;
        inside = from <= last;
        break;
      case SIMULATOR_SHUFFLE_XOR:
        from = static_cast<int>(lane) ^ offset;
        inside = from <= last;
        break;
      case SIMULATOR_SHUFFLE_INDEX:
        from = first | (offset & ~segment);
        inside = from <= last;
        break;
    }
    return inside ? static_cast<unsigned>(from) : lane;
  }

  static void execute_all(Lanes &lanes) {
    for_each_lane<Shuffle>(lanes, [&](unsigned lane, Shuffle &part) {
      unsigned from = part.source(lane);
      if (lanes.mask >> from & 1) part.result = static_cast<Shuffle *>(lanes.parts[from])->bits;
    });
  }
};

struct Ballot : Collective {
  bool predicate;
  SimulatorMask result = 0;

  Ballot(SimulatorMask mask, bool predicate) : Collective("a vote", execute_all, mask), predicate(predicate) {}

  static void execute_all(Lanes &lanes) {
    SimulatorMask votes = 0;
    for_each_lane<Ballot>(lanes, [&](unsigned lane, Ballot &part) { votes |= SimulatorMask{part.predicate} << lane; });
    for_each_lane<Ballot>(lanes, [&](unsigned, Ballot &part) { part.result = votes; });
  }
};

struct Match : Collective {
  uint64_t bits;
  SimulatorMask same = 0;  // lanes with the same bits
  SimulatorMask all = 0;   // all lanes

  Match(SimulatorMask mask, uint64_t bits) : Collective("a match", execute_all, mask), bits(bits) {}

  static void execute_all(Lanes &lanes) {
    for_each_lane<Match>(lanes, [&](unsigned, Match &part) {
      part.all = lanes.mask;
      for_each_lane<Match>(
          lanes, [&](unsigned other, Match &theirs) { part.same |= SimulatorMask{theirs.bits == part.bits} << other; });
    });
  }
};

struct ActiveMask : Collective {
  SimulatorMask result = 0;

  ActiveMask() : Collective("__activemask", execute_all, 0) {}

  static void execute_all(Lanes &lanes) {
    for_each_lane<ActiveMask>(lanes, [&](unsigned, ActiveMask &part) { part.result = lanes.mask; });
  }
};

// Times of the lanes are joined: what each has done before, all know after (Lamport's clocks, one for each lane).
struct WarpBarrier : Collective {
  Thread &thread;

  explicit WarpBarrier(SimulatorMask mask)
      : Collective("__syncwarp", execute_all, mask), thread(Worker::current()->thread()) {}

  static void execute_all(Lanes &lanes) {
    std::array<uint16_t, kMostLanes> joined{};
    for_each_lane<WarpBarrier>(lanes, [&](unsigned, WarpBarrier &part) {
      for (unsigned i = 0; i < kMostLanes; ++i) joined[i] = std::max(joined[i], part.thread.known[i]);
    });
    uint16_t next = static_cast<uint16_t>(*std::max_element(joined.begin(), joined.end()) + 1);
    for_each_lane<WarpBarrier>(lanes, [&](unsigned lane, WarpBarrier &part) {
      part.thread.known = joined;
      part.thread.known[lane] = next;
    });
  }
};

struct Reduction : Collective {
  uint32_t bits;
  bool is_signed;
  SimulatorReduction what;
  uint32_t result = 0;

  Reduction(SimulatorMask mask, SimulatorReduction what, bool is_signed, uint32_t bits)
      : Collective("a reduction", execute_all, mask), bits(bits), is_signed(is_signed), what(what) {}

  uint32_t combined(uint32_t a, uint32_t b) const {
    bool is_less = is_signed ? static_cast<int32_t>(a) < static_cast<int32_t>(b) : a < b;
    switch (what) {
      case SIMULATOR_ADD:
        return a + b;
      case SIMULATOR_MIN:
        return is_less ? a : b;
      case SIMULATOR_MAX:
        return is_less ? b : a;
      case SIMULATOR_AND:
        return a & b;
      case SIMULATOR_OR:
        return a | b;
      case SIMULATOR_XOR:
        return a ^ b;
    }
    __builtin_unreachable();
  }

  static void execute_all(Lanes &lanes) {
    bool is_first = true;
    uint32_t sum = 0;
    for_each_lane<Reduction>(lanes, [&](unsigned, Reduction &part) {
      sum = is_first ? part.bits : part.combined(sum, part.bits);
      is_first = false;
    });
    for_each_lane<Reduction>(lanes, [&](unsigned, Reduction &part) { part.result = sum; });
  }
};

}  // namespace

extern "C" {

uint32_t simulator_shuffle(SimulatorMask mask, SimulatorShuffle mode, uint32_t bits, int operand, uint32_t clamp,
                           bool *inside) {
  Shuffle part(mask, mode, bits, operand, clamp);
  take_part(part);
  *inside = part.inside;
  return part.result;
}

SimulatorMask simulator_ballot(SimulatorMask mask, bool predicate) {
  Ballot part(mask, predicate);
  take_part(part);
  return part.result;
}

SimulatorMask simulator_match_any(SimulatorMask mask, uint64_t bits) {
  Match part(mask, bits);
  take_part(part);
  return part.same;
}

SimulatorMask simulator_match_all(SimulatorMask mask, uint64_t bits, int *all) {
  Match part(mask, bits);
  take_part(part);
  *all = part.same == part.all;
  return *all ? part.all : 0;
}

SimulatorMask simulator_active_mask() {
  ActiveMask part;
  take_part(part);
  return part.result;
}

void simulator_warp_barrier(SimulatorMask mask) {
  WarpBarrier part(mask);
  take_part(part);
}

uint32_t simulator_reduce(SimulatorMask mask, SimulatorReduction what, bool is_signed, uint32_t bits) {
  Reduction part(mask, what, is_signed, bits);
  take_part(part);
  return part.result;
}
}
