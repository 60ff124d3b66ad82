/* Parallel loops of compiled kernels.
 *
 * This is linked into every model's library and takes the place of TVM's thread pool, which is one pool per calling
 * thread, of one size per process, and keeps its workers spinning for a tenth of a second. Here each loaded model has
 * its own workers, as many as it was loaded with:
 *
 *  - A launch splits a loop into one task per thread. Every thread starts with its own task, so that the same rows stay
 *    in the same core's cache from kernel to kernel; the caller then takes the tasks nobody has started. A worker that
 *    sleeps or was descheduled therefore never holds up the caller.
 *  - One launch at a time owns the workers. A second Python thread that runs the same model meanwhile computes its
 *    loops alone: the cores are busy already.
 *  - Workers wait actively for as long as those of other runtimes do, some tens of milliseconds, then sleep on a futex.
 *    A shorter wait saves energy between runs, but loses in a process where another runtime's workers spin: a thread that
 *    sleeps or yields gets its core back from a spinning one at the scheduler's next tick only, milliseconds later.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* glibc 2.34 took threads into its main library, and gave them a new version there. The old one is still in it, and in the
 * libpthread of all before: with that, what is linked on a new system runs on an old board as well. */
#if defined(__GLIBC__) && defined(__x86_64__)
#define OLDEST_GLIBC "GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
#define OLDEST_GLIBC "GLIBC_2.17"
#endif
#ifdef OLDEST_GLIBC
__asm__(".symver pthread_create, pthread_create@" OLDEST_GLIBC);
__asm__(".symver pthread_join, pthread_join@" OLDEST_GLIBC);
#endif

#define EXPORT __attribute__((visibility("default")))
#define MAX_THREADS 256
#define CACHE_LINE 64
#define PAUSES 1000 /* some 20 us between looks at the clock, or before the caller gives its core to others */
#define ACTIVE_NS 50000000 /* how long workers look for work before they sleep: as long as ONNX Runtime's, by measurement */

/* The interfaces of TVM's c_backend_api.h and c_api.h that generated code and tvm-ffi use. */
typedef struct {
  void *sync_handle;
  int32_t num_task;
} Group;
typedef int (*Loop)(int task, Group *group, void *closure);
typedef struct {
  int32_t type_index;
  uint32_t padding;
  int64_t value;
} Any;
extern void TVMFFIErrorSetRaisedFromCStr(const char *kind, const char *message);
/* Generated code launches through this; it is absent when no loop is parallel. */
extern int (*__TVMBackendParallelLaunch)(Loop, void *, int) __attribute__((weak));

typedef struct {
  _Alignas(CACHE_LINE) atomic_uint claimed; /* the last launch whose task of this index was started */
} Slot;

static Slot slots[MAX_THREADS];
static pthread_t workers[MAX_THREADS];
static int threads = 1; /* the caller and the workers */

static _Alignas(CACHE_LINE) atomic_uint launch; /* number of launches so far: workers wait for it to change */
static _Alignas(CACHE_LINE) atomic_int pending; /* tasks of the current launch that are not finished */
static _Alignas(CACHE_LINE) atomic_int sleepers;
static atomic_int failed;
static atomic_flag owned = ATOMIC_FLAG_INIT;
static atomic_int stopping;
static struct {
  Loop loop;
  void *closure;
  Group group;
} job; /* written by the owner before `launch` changes, read by who has claimed a task of that launch */

static inline void pause_core(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void futex(atomic_uint *word, int operation, unsigned value) {
  syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Run task `index` of launch `number` unless someone has started it. */
static void try_task(int index, unsigned number) {
  unsigned before = number - 1;
  if (!atomic_compare_exchange_strong(&slots[index].claimed, &before, number)) return;
  if (job.loop(index, &job.group, job.closure) != 0) atomic_store(&failed, 1);
  atomic_fetch_sub(&pending, 1);
}

/* Wait until `launch` is no longer `seen`, actively at first; returns its new value. */
static unsigned next_launch(unsigned seen) {
  unsigned now;
  for (int64_t until = nanoseconds() + ACTIVE_NS; nanoseconds() < until;) {
    for (int i = 0; i < PAUSES; ++i) {
      if ((now = atomic_load_explicit(&launch, memory_order_acquire)) != seen) return now;
      pause_core();
    }
  }
  atomic_fetch_add(&sleepers, 1);
  while ((now = atomic_load(&launch)) == seen) futex(&launch, FUTEX_WAIT, seen);
  atomic_fetch_sub(&sleepers, 1);
  return now;
}

static void *work(void *argument) {
  int index = (int)(intptr_t)argument;
  unsigned seen = 0;
  for (;;) {
    seen = next_launch(seen);
    if (atomic_load(&stopping)) return NULL;
    try_task(index, seen);
  }
}

static void wake(void) {
  if (atomic_load(&sleepers) > 0) futex(&launch, FUTEX_WAKE, MAX_THREADS);
}

static int run_alone(Loop loop, void *closure) {
  Group group = {NULL, 1};
  return loop(0, &group, closure);
}

/* Takes the place of TVMBackendParallelLaunch. Generated code always asks for as many tasks as there are threads. */
static int parallel_launch(Loop loop, void *closure, int num_task) {
  (void)num_task;
  if (threads == 1 || atomic_flag_test_and_set(&owned)) return run_alone(loop, closure);
  job.loop = loop;
  job.closure = closure;
  job.group.sync_handle = NULL;
  job.group.num_task = threads;
  atomic_store(&failed, 0);
  atomic_store(&pending, threads);
  unsigned number = atomic_fetch_add(&launch, 1) + 1;
  wake();
  for (int index = 0; index < threads; ++index) try_task(index, number);
  for (int spins = 0; atomic_load_explicit(&pending, memory_order_acquire) != 0; ++spins) {
    if (spins < PAUSES) pause_core(); else sched_yield();
  }
  int error = atomic_load(&failed);
  atomic_flag_clear(&owned);
  if (error) TVMFFIErrorSetRaisedFromCStr("RuntimeError", "a parallel kernel failed");
  return error ? -1 : 0;
}

/* A forked child has no workers. */
static void forget_workers(void) {
  threads = 1;
  atomic_flag_clear(&owned);
}

__attribute__((destructor)) static void stop(void) {
  if (threads == 1) return;
  atomic_store(&stopping, 1);
  atomic_fetch_add(&launch, 1);
  futex(&launch, FUTEX_WAKE, MAX_THREADS);
  for (int index = 1; index < threads; ++index) pthread_join(workers[index], NULL);
  threads = 1;
}

/* dsc_start(threads) -> threads that there are: fewer if the system gives no more. Called once, after loading. */
EXPORT int __tvm_ffi_dsc_start(void *self, const Any *arguments, int32_t count, Any *result) {
  (void)self;
  int wanted = count == 1 ? (int)arguments[0].value : 1;
  if (wanted > MAX_THREADS) wanted = MAX_THREADS;
  if (&__TVMBackendParallelLaunch != NULL) {
    __TVMBackendParallelLaunch = parallel_launch;
    if (wanted > 1) pthread_atfork(NULL, NULL, forget_workers);
    while (threads < wanted && pthread_create(&workers[threads], NULL, work, (void *)(intptr_t)threads) == 0) ++threads;
  }
  result->type_index = 1; /* kTVMFFIInt */
  result->padding = 0;
  result->value = threads;
  return 0;
}
