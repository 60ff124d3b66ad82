#include "scratch.h"

#include <pthread.h>
#include <stdlib.h>

/* Generated code allocates through these, which the runtime sets when it loads the library; they are absent where no
 * function asks for memory. */
typedef void *(*Allocate)(int device_type, int device, uint64_t size, int type_code, int type_bits);
typedef int (*Free)(int device_type, int device, void *address);
extern Allocate __TVMBackendAllocWorkspace __attribute__((weak));
extern Free __TVMBackendFreeWorkspace __attribute__((weak));

static Allocate runtime_allocate;
static Free runtime_free;
static _Thread_local dsc_scratch *current;

/* Work of one capture is done in its order, so what was freed may be taken again. The smallest that is large enough is. */
static dsc_block *free_block(dsc_scratch *scratch, uint64_t size) {
  dsc_block *best = NULL;
  for (dsc_block *each = scratch->blocks; each != scratch->blocks + scratch->count; ++each)
    if (!each->is_taken && each->size >= size && (!best || each->size < best->size)) best = each;
  return best;
}

/* Null, with an error raised, where memory is short. */
static dsc_block *new_block(dsc_scratch *scratch, uint64_t size) {
  dsc_block *blocks = realloc(scratch->blocks, (scratch->count + 1) * sizeof(*blocks));
  if (!blocks) {
    dsc_raise("MemoryError", "capturing launches", "no memory for what is known of it");
    return NULL;
  }
  scratch->blocks = blocks;
  dsc_block made = {NULL, size, 0};
  int error = scratch->driver->allocate(&made.address, size);
  if (dsc_check(scratch->driver, error, "allocating memory that a kernel asks for")) return NULL;
  blocks[scratch->count] = made;
  return &blocks[scratch->count++];
}

static void *allocate(int device_type, int device, uint64_t size, int type_code, int type_bits) {
  if (!current || device_type != DSC_DEVICE_TYPE)
    return runtime_allocate(device_type, device, size, type_code, type_bits);
  dsc_block *block = free_block(current, size);
  if (!block) block = new_block(current, size);
  if (!block) return NULL;
  block->is_taken = 1;
  return block->address;
}

static int release(int device_type, int device, void *address) {
  if (current && device_type == DSC_DEVICE_TYPE) {
    for (dsc_block *each = current->blocks; each != current->blocks + current->count; ++each) {
      if (each->address != address) continue;
      each->is_taken = 0;
      return 0;
    }
  }
  return runtime_free(device_type, device, address);
}

/* Take the runtime's place in this library, once. */
static void intercept(void) {
  static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
  if (&__TVMBackendAllocWorkspace == NULL || &__TVMBackendFreeWorkspace == NULL) return;
  pthread_mutex_lock(&one_at_a_time);
  if (!runtime_allocate) {
    runtime_allocate = __TVMBackendAllocWorkspace;
    runtime_free = __TVMBackendFreeWorkspace;
    __atomic_store_n(&__TVMBackendAllocWorkspace, allocate, __ATOMIC_RELEASE);
    __atomic_store_n(&__TVMBackendFreeWorkspace, release, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&one_at_a_time);
}

void dsc_use_scratch(dsc_scratch *scratch) {
  intercept();
  current = scratch;
}

void dsc_free_scratch(dsc_scratch *scratch) {
  for (size_t i = 0; i < scratch->count; ++i) scratch->driver->release(scratch->blocks[i].address);
  free(scratch->blocks);
}
