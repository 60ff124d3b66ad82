/* A run of a model as one graph.
 *
 * This is linked into the library of every model for a GPU. It calls the model's function once with the launches of this
 * thread captured, and gives a function that launches them all, as often as wanted. Addresses are part of a graph:
 *
 *  - Inputs, weights and outputs are the tensors of the call, in whose memory the caller puts other elements.
 *  - What is in between is memory that the virtual machine allocates in the call, and would give back to a pool from which
 *    others take it. It tells of every instruction, and the graph keeps what they give.
 *  - Scratch memory of kernels' functions is the graph's own (scratch.h).
 *  - The function itself is not kept: with it the graph would hold this library, whose code frees the graph.
 *
 * Nothing is executed by the call, so it must not depend on what kernels compute: dsc.codegen.capture says which do not.
 */
#include <stdlib.h>

#include "driver.h"
#include "kept.h"
#include "scratch.h"
#include "tvm/ffi/extra/c_env_api.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
  const dsc_driver *driver;
  void *executable;
  dsc_scratch scratch;
  dsc_kept kept;
  TVMFFIAny results;
} Graph;

/* What the machine tells of its instructions. */
typedef struct {
  dsc_kept *kept; /* null before and after the capture */
} Watcher;

enum { WATCHED_BEFORE = 2, WATCHED_RESULT = 3, WATCHED = 4 }; /* arguments of a watcher, before the instruction's */

static int watch(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
  const Watcher *watcher = self;
  result->type_index = kTVMFFINone;
  if (!watcher->kept || count < WATCHED || arguments[WATCHED_BEFORE].v_int64) return 0;
  return dsc_keep(watcher->kept, &arguments[WATCHED_RESULT]);
}

static void free_graph(void *self) {
  Graph *graph = self;
  if (graph->executable) graph->driver->destroy_executable(graph->executable);
  dsc_free_scratch(&graph->scratch);
  dsc_let_go(&graph->kept);
  free(graph);
}

static int launch(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
  (void)arguments;
  (void)count;
  Graph *graph = self;
  void *stream = TVMFFIEnvGetStream(DSC_DEVICE_TYPE, DSC_FIRST_DEVICE);
  int error = graph->driver->launch(graph->executable, stream);
  if (dsc_check(graph->driver, error, "launching the kernels of a run")) return -1;
  return TVMFFIAnyViewToOwnedAny(&graph->results, result);
}

/* Call `function` with its launches on `stream` captured as `nodes`. */
static int capture_call(Graph *graph, void *stream, TVMFFIObjectHandle function, TVMFFIAny *arguments, int32_t count,
                        void **nodes) {
  const dsc_driver *driver = graph->driver;
  if (dsc_check(driver, driver->begin_capture(stream, DSC_RELAXED), "beginning to capture launches")) return -1;
  TVMFFIStreamHandle before = NULL;
  TVMFFIEnvSetStream(DSC_DEVICE_TYPE, DSC_FIRST_DEVICE, stream, &before);
  dsc_use_scratch(&graph->scratch);
  TVMFFIAny results = {0};
  int called = TVMFFIFunctionCall(function, arguments, count, &results);
  dsc_use_scratch(NULL);
  TVMFFIEnvSetStream(DSC_DEVICE_TYPE, DSC_FIRST_DEVICE, before, NULL);
  int ended = driver->end_capture(stream, nodes);
  if (called != 0) {
    driver->forget_error(); /* the call's own is raised already */
    return -1;
  }
  graph->results = results;
  int kept = dsc_keep(&graph->kept, &results);
  if (results.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(results.v_obj); /* one reference is enough */
  return kept ? kept : dsc_check(driver, ended, "capturing launches");
}

static int record(Graph *graph, TVMFFIObjectHandle function, TVMFFIAny *arguments, int32_t count) {
  const dsc_driver *driver = graph->driver;
  void *stream = NULL, *nodes = NULL;
  if (dsc_check(driver, driver->create_stream(&stream, DSC_NON_BLOCKING), "creating a stream")) return -1;
  int result = capture_call(graph, stream, function, arguments, count, &nodes);
  if (result == 0)
    result = dsc_check(driver, driver->instantiate(&graph->executable, nodes, 0), "making a graph of captured launches");
  if (nodes) driver->destroy_graph(nodes);
  driver->destroy_stream(stream);
  return result;
}

/* The same, while the machine tells of its instructions; there is no way to make it stop. */
static int record_watched(Graph *graph, TVMFFIObjectHandle set_instrument, TVMFFIObjectHandle function,
                          TVMFFIAny *arguments, int32_t count) {
  Watcher *watcher = calloc(1, sizeof(*watcher));
  TVMFFIObjectHandle told = NULL;
  if (!watcher) return dsc_raise("MemoryError", "capturing launches", "no memory for what is known of it");
  if (TVMFFIFunctionCreate(watcher, watch, free, &told)) {
    free(watcher);
    return -1;
  }
  TVMFFIAny argument = {0}, nothing = {0};
  argument.type_index = kTVMFFIFunction;
  argument.v_obj = told;
  int result = TVMFFIFunctionCall(set_instrument, &argument, 1, &nothing);
  if (result == 0) {
    watcher->kept = &graph->kept;
    result = record(graph, function, arguments, count);
    watcher->kept = NULL;
  }
  TVMFFIObjectDecRef(told);
  return result;
}

/* dsc_capture(set_instrument, function, *arguments) -> a function without arguments, which launches what
 * function(*arguments) launches, and gives the same results.
 *
 * set_instrument: of the virtual machine whose function it is. All of the function's code and memory must have been used
 * before: loading code is not to be captured. Not to be let go of after the library. */
EXPORT int __tvm_ffi_dsc_capture(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
  (void)self;
  if (count < 2 || arguments[0].type_index != kTVMFFIFunction || arguments[1].type_index != kTVMFFIFunction) {
    TVMFFIErrorSetRaisedFromCStr("TypeError", "dsc_capture takes set_instrument, a function, and what that takes");
    return -1;
  }
  const dsc_driver *driver = dsc_find_driver();
  Graph *graph = driver ? calloc(1, sizeof(*graph)) : NULL;
  if (!graph) return driver ? dsc_raise("MemoryError", "capturing launches", "no memory for a graph") : -1;
  graph->driver = graph->scratch.driver = driver;
  int failed = 0;
  for (int32_t i = 2; i < count && !failed; ++i) failed = dsc_keep(&graph->kept, &arguments[i]);
  TVMFFIAny *inputs = (TVMFFIAny *)arguments + 2; /* calls take what they do not change without `const` */
  if (!failed) failed = record_watched(graph, arguments[0].v_obj, arguments[1].v_obj, inputs, count - 2);
  TVMFFIObjectHandle launcher = NULL;
  if (!failed) failed = TVMFFIFunctionCreate(graph, launch, free_graph, &launcher);
  if (failed) {
    free_graph(graph);
    return -1;
  }
  result->type_index = kTVMFFIFunction;
  result->v_obj = launcher;
  return 0;
}
