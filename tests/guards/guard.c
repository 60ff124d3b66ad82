/* Memory whose neighbourhood faults. Preloaded, it takes the place of the allocator of tensors.
 *
 * Each allocation has pages of its own between pages that nobody may touch, and lies flush against the one behind it or
 * before it. Freed ones are taken away, so that use after free faults too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define ARENA ((size_t)1 << 40) /* addresses, not memory: they are used once */

enum { OFF, AT_END, AT_BEGIN };

static char *arena;
static size_t used;
static int mode = OFF;
static size_t served;
static struct { char *data; size_t length; } blocks[1 << 20]; /* by the order of their addresses */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t pages(size_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

void *guard_alloc(size_t size) {
  pthread_mutex_lock(&lock);
  if (arena == NULL) {
    arena = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) abort();
  }
  size_t length = pages(size ? size : 1);
  char *data = arena + used + PAGE;
  used += length + 2 * PAGE;
  if (served == sizeof blocks / sizeof *blocks) abort();
  blocks[served].data = data;
  blocks[served++].length = length;
  pthread_mutex_unlock(&lock);
  if (used > ARENA || mprotect(data, length, PROT_READ | PROT_WRITE) != 0) abort();
  return mode == AT_BEGIN ? data : data + length - size;
}

void guard_mode(int wanted) { mode = wanted; }

size_t guard_served(void) { return served; }

static int inside(void *pointer) { return arena != NULL && (char *)pointer >= arena && (char *)pointer < arena + ARENA; }

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (mode != OFF) {
    *result = guard_alloc(size);
    return 0;
  }
  static int (*real)(void **, size_t, size_t);
  if (real == NULL) real = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  return real == NULL ? ENOMEM : real(result, alignment, size);
}

void free(void *pointer) {
  static void (*real)(void *);
  if (inside(pointer)) {
    size_t low = 0, high = served;
    while (high - low > 1) {
      size_t middle = (low + high) / 2;
      if (blocks[middle].data <= (char *)pointer) low = middle; else high = middle;
    }
    mprotect(blocks[low].data, blocks[low].length, PROT_NONE);
    madvise(blocks[low].data, blocks[low].length, MADV_DONTNEED);
    return;
  }
  if (real == NULL) real = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  real(pointer);
}
