/* The functions of CUDA's runtime, or HIP's, by which launches are captured: of one name but for its beginning, and of the
 * same types. They are found in the process, where what drives the GPU has loaded them. DSC_ROCM is defined for HIP. */
#pragma once
#include <stddef.h>

#include "dlpack/dlpack.h"

#ifdef DSC_ROCM
#define DSC_DEVICE_TYPE kDLROCM
#else
#define DSC_DEVICE_TYPE kDLCUDA
#endif
#define DSC_FIRST_DEVICE 0

enum {
  DSC_NON_BLOCKING = 1, /* a stream that has nothing to do with the default one, which other threads use meanwhile */
  DSC_RELAXED = 2, /* a capture that forbids no other calls, be it this thread's (memory is allocated) or another's */
};

/* Each gives 0, or the number of an error. */
typedef struct {
  int (*create_stream)(void **stream, unsigned flags);
  int (*destroy_stream)(void *stream);
  int (*begin_capture)(void *stream, int mode);
  int (*end_capture)(void *stream, void **graph);
  int (*instantiate)(void **executable, void *graph, unsigned long long flags);
  int (*launch)(void *executable, void *stream);
  int (*destroy_graph)(void *graph);
  int (*destroy_executable)(void *executable);
  int (*allocate)(void **memory, size_t size);
  int (*release)(void *memory);
  int (*forget_error)(void);
  const char *(*error_text)(int error);
} dsc_driver;

/* Null where a function is missing, with an error of TVM's raised. */
const dsc_driver *dsc_find_driver(void);

/* 0 where `error` is none; else -1, with an error of TVM's raised, a MemoryError where memory is short. */
int dsc_check(const dsc_driver *driver, int error, const char *call);

/* Raise an error of TVM's. */
int dsc_raise(const char *kind, const char *first, const char *second);
