#include "collective.h"

#include "fault.h"
#include "worker.h"

namespace simulator {

void take_part(Collective &collective) {
  Worker &worker = *Worker::current();
  Thread &thread = worker.thread();
  if (collective.mask && !(collective.mask >> thread.lane & 1))
    fault(nullptr, "takes part in %s with mask 0x%08llx, in which it is not", collective.name,
          static_cast<unsigned long long>(collective.mask));
  thread.collective = &collective;
  thread.state = State::kAtCollective;
  worker.suspend();
}

}  // namespace simulator
