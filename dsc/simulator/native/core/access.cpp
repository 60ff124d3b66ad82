#include "access.h"

#include <cstdio>

#include "fault.h"
#include "global_memory.h"
#include "worker.h"

namespace simulator {

namespace {

const char *verb(Direction direction) { return direction == Direction::kLoad ? "reads" : "writes"; }

[[noreturn]] void fault_hazard(const Worker &worker, const Hazard &hazard, size_t size, Direction direction,
                               const void *site) {
  const SharedMemory &shared = worker.shared_memory();
  const char *name = shared.owner(hazard.byte, 1);
  size_t byte = hazard.byte - shared.start(hazard.byte);
  if (hazard.kind == Hazard::kUnwritten)
    fault(site, "reads %zu bytes of '%s' at byte %zu, which nobody has written", size, name, byte);
  SimulatorIndex block = worker.launch().block;
  unsigned other = static_cast<unsigned>(hazard.other);
  char who[64] = "several threads";
  if (hazard.other != Hazard::kSeveral)
    snprintf(who, sizeof(who), "thread (%u, %u, %u)", other % block.x, other / block.x % block.y,
             other / block.x / block.y);
  if (hazard.kind == Hazard::kPending)
    fault(site, "%s %zu bytes of '%s' at byte %zu, where a cp.async of %s is not waited for", verb(direction), size,
          name, byte, who);
  if (hazard.kind == Hazard::kReading)
    fault(site, "%s %zu bytes of '%s' at byte %zu, which a wgmma that is not waited for reads", verb(direction), size,
          name, byte);
  if (hazard.kind == Hazard::kUnfenced)
    fault(site, "reads by wgmma %zu bytes of '%s' at byte %zu, which %s wrote without fence.proxy.async after it", size,
          name, byte, who);
  fault(site, "races: %s %zu bytes of '%s' at byte %zu, which %s %s with no barrier in between", verb(direction), size,
        name, byte, who, hazard.other_wrote ? "wrote" : "read");
}

void access_shared(Worker &worker, const void *address, size_t size, Direction direction, const void *site) {
  size_t offset = check_shared_bounds(address, size, direction, site);
  if (!worker.is_checked()) return;
  Shadow &shadow = worker.shadow();
  Hazard hazard = direction == Direction::kLoad ? shadow.read(worker.thread(), offset, size)
                                                : shadow.write(worker.thread(), offset, size);
  if (hazard) fault_hazard(worker, hazard, size, direction, site);
  Access access = direction == Direction::kLoad ? Access::kSharedLoad : Access::kSharedStore;
  if (site) worker.log(site, access, offset, static_cast<unsigned>(size));
}

// Constants, and variables of the source file.
bool in_image(const Worker &worker, const void *address) {
  const Image &image = *worker.launch().image;
  return address >= image.begin && address < image.end;
}

}  // namespace

void check_alignment(const void *address, size_t alignment, const char *what) {
  if (reinterpret_cast<uintptr_t>(address) % alignment)
    fault(nullptr, "%s at address %p, which is not a multiple of %zu", what, address, alignment);
}

void check_global(const void *address, size_t size, Direction direction, const void *site) {
  if (!in_one_allocation(address, size))
    fault(site, "%s %zu bytes of global memory out of bounds, at address %p", verb(direction), size, address);
  Access access = direction == Direction::kLoad ? Access::kGlobalLoad : Access::kGlobalStore;
  if (site) Worker::current()->log(site, access, reinterpret_cast<uint64_t>(address), static_cast<unsigned>(size));
}

void check_atomic(const void *address, size_t size, const void *site) {
  check_alignment(address, size, "an atomic operation");
  Worker &worker = *Worker::current();
  ++worker.counters().atomics;
  if (!worker.shared_memory().contains(address)) {
    check_access(address, size, Direction::kStore, nullptr);
    return;
  }
  size_t offset = check_shared_bounds(address, size, Direction::kStore, site);
  if (!worker.is_checked()) return;
  Hazard hazard = worker.shadow().atomic(worker.thread(), offset, size);
  if (hazard) fault_hazard(worker, hazard, size, Direction::kStore, site);
}

void check_copy(size_t offset, size_t size, const void *site) {
  Worker &worker = *Worker::current();
  if (!worker.is_checked()) return;
  Hazard hazard = worker.shadow().begin_copy(worker.thread(), offset, size);
  if (hazard) fault_hazard(worker, hazard, size, Direction::kStore, site);
  // The same instruction reads global memory: one byte further it is another.
  worker.log(static_cast<const char *>(site) + 1, Access::kSharedStore, offset, static_cast<unsigned>(size));
}

void check_matrix_read(size_t offset, size_t size, const void *site) {
  Worker &worker = *Worker::current();
  if (!worker.is_checked()) return;
  Hazard hazard = worker.shadow().matrix_read(worker.thread(), offset, size);
  if (hazard) fault_hazard(worker, hazard, size, Direction::kLoad, site);
}

size_t check_shared_bounds(const void *address, size_t size, Direction direction, const void *site) {
  const SharedMemory &shared = Worker::current()->shared_memory();
  size_t offset = shared.offset(address);
  if (!shared.contains(address) || !shared.owner(offset, size))
    fault(site, "%s %zu bytes of shared memory out of bounds", verb(direction), size);
  return offset;
}

void check_access(const void *address, size_t size, Direction direction, const void *site) {
  Worker &worker = *Worker::current();
  if (worker.on_own_stack(address)) return;
  if (worker.shared_memory().contains(address)) return access_shared(worker, address, size, direction, site);
  if (in_global_range(address)) return check_global(address, size, direction, site);
  if (in_image(worker, address)) return;
  fault(site, "%s %zu bytes at address %p, which is in no memory of the device's", verb(direction), size, address);
}

}  // namespace simulator
