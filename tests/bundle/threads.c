/* Many threads at once: on one model, and on the same bundle loaded twice. Takes the bundle of
 * tests.bundle.models.PRODUCTS. Each thread compares its runs with the first one, in which it was alone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dsc.h"

#define THREADS 6
#define RUNS 15
#define MOST 64 /* rows */
#define WIDTH 96

typedef struct {
  dsc_model *model;
  int64_t rows;
  float x[MOST * WIDTH], first[MOST * WIDTH];
  int failures;
} Caller;

static Caller callers[THREADS];

/* y of one run. */
static int run(Caller *caller, float *y) {
  const dsc_tensor input = {caller->x, DSC_FLOAT32, 2, {caller->rows, WIDTH}};
  dsc_tensor output = {y, DSC_FLOAT32, 2, {caller->rows, WIDTH}};
  return dsc_run(caller->model, &input, 1, &output, 1) == DSC_OK;
}

/* Right runs, and wrong ones between them, whose messages are this thread's own. */
static void *work(void *argument) {
  Caller *caller = argument;
  float y[MOST * WIDTH];
  char said[64];
  if (strcmp(dsc_error(), "") != 0) ++caller->failures; /* what failed in another thread is not told here */
  snprintf(said, sizeof said, "there is no number %d of 1", (int)caller->rows);
  for (int i = 0; i < RUNS; ++i) {
    dsc_info info;
    if (dsc_input(caller->model, (size_t)caller->rows, &info) != DSC_ERROR_ARGUMENT) ++caller->failures;
    if (!run(caller, y) || memcmp(y, caller->first, sizeof(float) * WIDTH * (size_t)caller->rows) != 0) ++caller->failures;
    if (strcmp(dsc_error(), said) != 0) ++caller->failures;
  }
  return NULL;
}

/* Threads of this process. */
static int tasks(void) {
  int found = 0;
  DIR *folder = opendir("/proc/self/task");
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) found += entry->d_name[0] != '.';
  closedir(folder);
  return found;
}

/* Whether there are so many: one that was joined may be listed a moment longer. */
static int settles_at(int expected) {
  for (int i = 0; i < 1000 && tasks() != expected; ++i) nanosleep(&(struct timespec){0, 1000000}, NULL);
  return tasks() == expected;
}

/* Each model that is loaded has workers of its own, which end with it. */
static int counts_threads(const char *folder) {
  const int before = tasks();
  dsc_model *two, *four;
  if (dsc_load(folder, 2, &two) != DSC_OK || !settles_at(before + 1)) return 0;
  if (dsc_load(folder, 4, &four) != DSC_OK || !settles_at(before + 4)) return 0;
  dsc_free(two);
  if (!settles_at(before + 3)) return 0;
  dsc_free(four);
  return settles_at(before);
}

int main(int count, char **words) {
  dsc_model *models[2];
  if (count != 2) return 2;
  if (!counts_threads(words[1])) return puts("threads of models"), 1;
  for (int i = 0; i < 2; ++i) {
    if (dsc_load(words[1], 1 + i, &models[i]) != DSC_OK) return puts(dsc_error()), 1;
  }
  if (dsc_threads(models[0]) != 1 || dsc_threads(models[1]) != 2) return puts("threads"), 1;
  for (int i = 0; i < THREADS; ++i) {
    Caller *caller = &callers[i];
    caller->model = models[i % 2];
    caller->rows = 4 + 11 * i;
    for (int j = 0; j < caller->rows * WIDTH; ++j) caller->x[j] = (float)((j * 7 + i) % 23) - 11.0f;
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
  float y[MOST * WIDTH];
  if (!run(&callers[1], y)) return puts("a model needs another that is gone"), 1;
  dsc_free(models[1]);
  printf("%d of %d runs failed\n", failures, THREADS * RUNS);
  return failures != 0;
}
