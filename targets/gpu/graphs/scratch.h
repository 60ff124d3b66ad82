/* Memory that kernels' functions ask for themselves while their launches are captured. TVM's runtime gives it from a pool
 * of the thread, which may free it for a larger one, and does when the thread ends. A graph uses it whenever it is
 * launched, so it has its own. */
#pragma once
#include <stdint.h>

#include "driver.h"

typedef struct {
  void *address;
  uint64_t size;
  int is_taken;
} dsc_block;

typedef struct {
  const dsc_driver *driver;
  dsc_block *blocks;
  size_t count;
} dsc_scratch;

/* From now on this thread's functions get their memory from there; from the runtime again where it is null. */
void dsc_use_scratch(dsc_scratch *scratch);

/* Free all of it. */
void dsc_free_scratch(dsc_scratch *scratch);
