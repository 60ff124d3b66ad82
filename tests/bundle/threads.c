/* Many threads at once: on one model, and on the same bundle loaded twice. Takes the bundle of tests.bundle.models.WORDS.
 * Each thread compares its runs with the first one, in which it was alone. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dsc.h"

#define OUTPUTS 5
#define THREADS 6
#define RUNS 40
#define MOST 64 /* rows */

typedef struct {
  dsc_model *model;
  int64_t rows;
  float x[MOST * 8], first[MOST * 8];
  int64_t ids[MOST];
  int failures;
} Caller;

static Caller callers[THREADS];

/* y of one run. */
static int run(Caller *caller, float *y) {
  const dsc_tensor inputs[] = {{caller->x, DSC_FLOAT32, 2, {caller->rows, 8}},
                               {caller->ids, DSC_INT64, 2, {caller->rows, 1}},
                               {caller->x, DSC_FLOAT32, 1, {caller->rows * 8}}};
  dsc_tensor outputs[OUTPUTS] = {{y, DSC_FLOAT32, 2, {caller->rows, 8}}};
  const dsc_status status = dsc_run(caller->model, inputs, 3, outputs, OUTPUTS);
  for (int i = 1; i < OUTPUTS; ++i) dsc_release(&outputs[i]);
  return status == DSC_OK;
}

/* Right runs, and wrong ones between them, whose messages are this thread's own. */
static void *work(void *argument) {
  Caller *caller = argument;
  float y[MOST * 8];
  char said[64];
  if (strcmp(dsc_error(), "") != 0) ++caller->failures; /* what failed in another thread is not told here */
  snprintf(said, sizeof said, "there is no number %d of 3", (int)caller->rows);
  for (int i = 0; i < RUNS; ++i) {
    dsc_info info;
    if (dsc_input(caller->model, (size_t)caller->rows, &info) != DSC_ERROR_ARGUMENT) ++caller->failures;
    if (!run(caller, y) || memcmp(y, caller->first, sizeof(float) * 8 * (size_t)caller->rows) != 0) ++caller->failures;
    if (strcmp(dsc_error(), said) != 0) ++caller->failures;
  }
  return NULL;
}

int main(int count, char **words) {
  dsc_model *models[2];
  if (count != 2) return 2;
  for (int i = 0; i < 2; ++i) {
    if (dsc_load(words[1], 1 + i, &models[i]) != DSC_OK) return puts(dsc_error()), 1;
  }
  if (dsc_threads(models[0]) != 1 || dsc_threads(models[1]) != 2) return puts("threads"), 1;
  for (int i = 0; i < THREADS; ++i) {
    Caller *caller = &callers[i];
    caller->model = models[i % 2];
    caller->rows = 4 + 11 * i;
    for (int j = 0; j < caller->rows * 8; ++j) caller->x[j] = (float)((j * 7 + i) % 23) - 11.0f;
    if (!run(caller, caller->first)) return puts(dsc_error()), 1;
  }
  if (dsc_load(NULL, 1, &(dsc_model *){NULL}) != DSC_ERROR_ARGUMENT) return puts("NULL was loaded"), 1;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, work, &callers[i]);
  int failures = 0;
  for (int i = 0; i < THREADS; ++i) {
    pthread_join(threads[i], NULL);
    failures += callers[i].failures;
  }
  if (strcmp(dsc_error(), "path is NULL") != 0) return puts("another thread's message"), 1;
  dsc_free(models[0]);
  float y[MOST * 8];
  if (!run(&callers[1], y)) return puts("a model needs another that is gone"), 1;
  dsc_free(models[1]);
  printf("%d of %d runs failed\n", failures, THREADS * RUNS);
  return failures != 0;
}
