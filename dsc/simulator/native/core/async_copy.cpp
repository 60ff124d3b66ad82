// cp.async: copies from global to shared memory that may happen at any time until they are waited for.
//
// Here they happen when they are waited for, the latest moment, so that a kernel which does not wait computes with what
// was there before; the record of races knows them from the moment they are issued, the earliest.
#include <cstring>

#include "access.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

void complete(Worker &worker, const std::vector<AsyncCopy> &group) {
  char *shared = worker.shared_memory().base();
  for (const AsyncCopy &copy : group) {
    memcpy(shared + copy.shared, copy.global, static_cast<size_t>(copy.source_size));
    memset(shared + copy.shared + copy.source_size, 0, static_cast<size_t>(copy.size - copy.source_size));
    worker.shadow().end_copy(worker.thread(), copy.shared, static_cast<size_t>(copy.size));
  }
}

}  // namespace

extern "C" {

void simulator_async_copy(uint32_t shared, const void *global, int size, int source_size) {
  Worker &worker = *Worker::current();
  const void *site = __builtin_return_address(0);
  size_t bytes = static_cast<size_t>(size);
  if (size != 4 && size != 8 && size != 16) fault(site, "copies %d bytes by cp.async, which takes 4, 8 or 16", size);
  if (source_size < 0 || source_size > size) fault(site, "copies %d of %d bytes by cp.async", source_size, size);
  const void *to = simulator_shared_pointer(shared);
  check_alignment(to, bytes, "copies by cp.async to shared memory");
  check_alignment(global, bytes, "copies by cp.async from global memory");
  check_shared_bounds(to, bytes, Direction::kStore, site);
  if (source_size) check_global(global, static_cast<size_t>(source_size), Direction::kLoad, site);
  check_copy(shared, bytes, site);
  worker.thread().open_copies.push_back({shared, global, size, source_size});
  ++worker.counters().async_copies;
}

void simulator_async_commit() {
  Thread &thread = Worker::current()->thread();
  thread.committed_copies.push_back(std::move(thread.open_copies));
  thread.open_copies.clear();
}

void simulator_async_wait(int groups_left) {
  Worker &worker = *Worker::current();
  auto &groups = worker.thread().committed_copies;
  for (; groups.size() > static_cast<size_t>(groups_left); groups.pop_front()) complete(worker, groups.front());
}
}
