#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>

#include "tvm/ffi/c_api.h"

/* glibc 2.34 took these into its main library, and gave them a new version there. The old one is still in it, and in the
 * libdl of all before: with that, what is linked on a new system runs beside an old one as well. */
#if defined(__GLIBC__) && defined(__x86_64__)
#define OLDEST_GLIBC "GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
#define OLDEST_GLIBC "GLIBC_2.17"
#endif
#ifdef OLDEST_GLIBC
__asm__(".symver dlopen, dlopen@" OLDEST_GLIBC);
__asm__(".symver dlsym, dlsym@" OLDEST_GLIBC);
#endif

#ifdef DSC_ROCM
#define MAKER "HIP"
#define FUNCTION(name) "hip" name
#define INSTANTIATE "GraphInstantiateWithFlags"
static const char *const LIBRARIES[] = {"libamdhip64.so.7", "libamdhip64.so.6"}; /* as dsc/hip/native/api.cpp */
#else
#define MAKER "CUDA"
#define FUNCTION(name) "cuda" name
#define INSTANTIATE "GraphInstantiate" /* with these arguments since CUDA 12 */
static const char *const LIBRARIES[] = {"libcudart.so.13"}; /* which TVM's runtime for CUDA is linked to */
#endif

enum { OUT_OF_MEMORY = 2 };

int dsc_raise(const char *kind, const char *first, const char *second) {
  const char *parts[] = {MAKER ": ", first, ": ", second};
  TVMFFIErrorSetRaisedFromCStrParts(kind, parts, sizeof(parts) / sizeof(*parts));
  return -1;
}

int dsc_check(const dsc_driver *driver, int error, const char *call) {
  if (error == 0) return 0;
  const char *text = driver->error_text(error);
  driver->forget_error(); /* which would be told again to who asks next */
  return dsc_raise(error == OUT_OF_MEMORY ? "MemoryError" : "RuntimeError", call, text);
}

static void *loaded_library(void) {
  void *found = NULL;
  for (size_t i = 0; !found && i < sizeof(LIBRARIES) / sizeof(*LIBRARIES); ++i)
    found = dlopen(LIBRARIES[i], RTLD_NOW | RTLD_NOLOAD);
  return found;
}

const dsc_driver *dsc_find_driver(void) {
  static dsc_driver found;
  const struct {
    void *place;
    const char *name;
  } functions[] = {
      {&found.create_stream, FUNCTION("StreamCreateWithFlags")},
      {&found.destroy_stream, FUNCTION("StreamDestroy")},
      {&found.begin_capture, FUNCTION("StreamBeginCapture")},
      {&found.end_capture, FUNCTION("StreamEndCapture")},
      {&found.instantiate, FUNCTION(INSTANTIATE)},
      {&found.launch, FUNCTION("GraphLaunch")},
      {&found.destroy_graph, FUNCTION("GraphDestroy")},
      {&found.destroy_executable, FUNCTION("GraphExecDestroy")},
      {&found.allocate, FUNCTION("Malloc")},
      {&found.release, FUNCTION("Free")},
      {&found.forget_error, FUNCTION("GetLastError")},
      {&found.error_text, FUNCTION("GetErrorString")},
  };
  void *library = loaded_library();
  if (!library) {
    dsc_raise("RuntimeError", "no library in this process captures launches", LIBRARIES[0]);
    return NULL;
  }
  for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); ++i) {
    void *function = dlsym(library, functions[i].name);
    if (!function) {
      dsc_raise("RuntimeError", "the library that drives the GPU has no function", functions[i].name);
      return NULL;
    }
    /* the same for every thread that comes here */
    __atomic_store_n((void **)functions[i].place, function, __ATOMIC_RELAXED);
  }
  return &found;
}
