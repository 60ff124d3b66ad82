/* Calls of dsc.h that are wrong, each of which must give its code and message and change nothing. Takes the bundle of
 * tests.bundle.models.WORDS and the folder to write the outputs of a right run to. Prints what is not as it should be. */
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsc.h"

#define N 3
#define K 2
#define INPUTS 3
#define OUTPUTS 5

static int wrong;
static dsc_model *model;
static float x[N * 8], z[N * 8];
static int64_t ids[N * K];

static void expect(const char *what, dsc_status got, dsc_status wanted, const char *said) {
  if (got == wanted && (wanted == DSC_OK || strstr(dsc_error(), said) != NULL)) return;
  printf("%s: code %d, expected %d; message '%s', expected '%s'\n", what, (int)got, (int)wanted, dsc_error(), said);
  ++wrong;
}

static void require(const char *what, int holds) {
  if (holds) return;
  printf("%s\n", what);
  ++wrong;
}

static void right_inputs(dsc_tensor *inputs) {
  const dsc_tensor all[INPUTS] = {
      {x, DSC_FLOAT32, 2, {N, 8}}, {ids, DSC_INT64, 2, {N, K}}, {z, DSC_FLOAT32, 1, {N * 8}}};
  memcpy(inputs, all, sizeof all);
}

/* Run with one thing changed; nothing may be given to the outputs. */
static void refused(const char *what, const dsc_tensor *inputs, dsc_status status, const char *said) {
  dsc_tensor outputs[OUTPUTS];
  memset(outputs, 0, sizeof outputs);
  expect(what, dsc_run(model, inputs, INPUTS, outputs, OUTPUTS), status, said);
  for (int i = 0; i < OUTPUTS; ++i) require(what, outputs[i].data == NULL && outputs[i].rank == 0);
}

static void wrong_loads(const char *folder) {
  dsc_model *none = (dsc_model *)folder;
  expect("load nothing", dsc_load(NULL, 1, &none), DSC_ERROR_ARGUMENT, "path is NULL");
  require("a failed load leaves NULL", none == NULL);
  expect("load to nowhere", dsc_load(folder, 1, NULL), DSC_ERROR_ARGUMENT, "model is NULL");
  expect("threads", dsc_load(folder, -1, &none), DSC_ERROR_ARGUMENT, "threads must be a number from 1 to 256");
  expect("threads", dsc_load(folder, 257, &none), DSC_ERROR_ARGUMENT, "not 257");
  expect("no folder", dsc_load("/nowhere/at all", 1, &none), DSC_ERROR_FILE, "cannot read /nowhere/at all/bundle.txt: No such");
  dsc_free(NULL);
}

static void wrong_questions(void) {
  dsc_info info;
  expect("input of nothing", dsc_input(NULL, 0, &info), DSC_ERROR_ARGUMENT, "model is NULL");
  expect("input 3", dsc_input(model, INPUTS, &info), DSC_ERROR_ARGUMENT, "there is no number 3 of 3");
  expect("output 5", dsc_output(model, OUTPUTS, &info), DSC_ERROR_ARGUMENT, "there is no number 5 of 5");
  expect("input to nowhere", dsc_input(model, 0, NULL), DSC_ERROR_ARGUMENT, "info is NULL");
  require("counts of nothing", dsc_input_count(NULL) == 0 && dsc_output_count(NULL) == 0 && dsc_threads(NULL) == 0);
  require("no type", dsc_type_name(0) == NULL && dsc_type_size(8) == 0 && dsc_type_name(-1) == NULL);
  dsc_release(NULL);
}

static void right_questions(void) {
  dsc_info info;
  require("counts", dsc_input_count(model) == INPUTS && dsc_output_count(model) == OUTPUTS);
  require("threads", dsc_threads(model) == 2);
  expect("input 1", dsc_input(model, 1, &info), DSC_OK, "");
  require("ids", strcmp(info.name, "ids") == 0 && info.type == DSC_INT64 && info.rank == 2);
  require("free dims", info.dims[0] == -1 && info.dims[1] == -1);
  require("names", strcmp(info.dim_names[0], "n") == 0 && strcmp(info.dim_names[1], "k") == 0);
  expect("output 1", dsc_output(model, 1, &info), DSC_OK, "");
  require("g", strcmp(info.name, "g") == 0 && info.rank == 3 && info.dims[2] == 4 && info.dim_names[2] == NULL);
  require("version", dsc_api_version() == DSC_API_VERSION);
  for (int32_t type = 0; type < 40; ++type) {
    if (dsc_type_name(type) != NULL) printf("type %d %s %d\n", (int)type, dsc_type_name(type), (int)dsc_type_size(type));
  }
}

static void wrong_tensors(void) {
  dsc_tensor inputs[INPUTS], outputs[OUTPUTS];
  memset(outputs, 0, sizeof outputs);
  right_inputs(inputs);
  expect("no model", dsc_run(NULL, inputs, INPUTS, outputs, OUTPUTS), DSC_ERROR_ARGUMENT, "model is NULL");
  expect("two inputs", dsc_run(model, inputs, 2, outputs, OUTPUTS), DSC_ERROR_ARGUMENT, "the model has 3 inputs, was given 2");
  expect("NULL inputs", dsc_run(model, NULL, INPUTS, outputs, OUTPUTS), DSC_ERROR_ARGUMENT, "the inputs are NULL");
  expect("four outputs", dsc_run(model, inputs, INPUTS, outputs, 4), DSC_ERROR_ARGUMENT, "the model has 5 outputs, was given 4");
  expect("NULL outputs", dsc_run(model, inputs, INPUTS, NULL, OUTPUTS), DSC_ERROR_ARGUMENT, "the outputs are NULL");

  inputs[0].data = NULL;
  refused("NULL elements", inputs, DSC_ERROR_ARGUMENT, "input x: float32[n, 8]: data is NULL");
  inputs[0].data = (char *)x + 1;
  refused("unaligned", inputs, DSC_ERROR_ARGUMENT, "data is not aligned to its elements, of 4 bytes");
  right_inputs(inputs);
  inputs[0].type = DSC_FLOAT64;
  refused("another type", inputs, DSC_ERROR_INPUT, "input x: float32[n, 8] was given float64; nothing is cast");
  inputs[0].type = 99;
  refused("no type", inputs, DSC_ERROR_INPUT, "was given type 99, which is none");
}

static void wrong_dims(void) {
  const struct {
    int input, axis;
    int64_t dim;
    const char *said;
  } cases[] = {
      {0, 1, 7, "input x: float32[n, 8]: dim 1 must be 8, was given dims [3, 7]"},
      {1, 0, 4, "input ids: int64[n, k]: dim 0, 'n', is 4 here, but 3 in input x"},
      {0, 0, -1, "dim 0 is negative, -1"},
      {1, 1, INT64_MIN, "dim 1 is negative"},
      {2, 0, INT64_MAX, "are more than memory can hold"},
      {1, 1, INT64_C(1) << 61, "are more than memory can hold"},
      {2, 0, 20, "input z: dim 0 is 20. That does not fit "},
      {2, 0, 16, "That does not fit "},
  };
  dsc_tensor inputs[INPUTS];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    right_inputs(inputs);
    inputs[cases[i].input].dims[cases[i].axis] = cases[i].dim;
    refused(cases[i].said, inputs, DSC_ERROR_INPUT, cases[i].said);
  }
  const int32_t ranks[] = {1, 3, 0, -1, DSC_MAX_RANK + 1, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; ++i) {
    right_inputs(inputs);
    inputs[0].rank = ranks[i];
    refused("rank", inputs, DSC_ERROR_INPUT, "input x: float32[n, 8] needs 2 dims, was given rank ");
  }
}

static void wrong_indices(void) {
  dsc_tensor inputs[INPUTS];
  right_inputs(inputs);
  const int64_t outside[] = {5, -6, INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; ++i) {
    const int64_t before = ids[4];
    ids[4] = outside[i];
    char said[64];
    snprintf(said, sizeof said, "index %lld", (long long)outside[i]);
    refused("index", inputs, DSC_ERROR_INPUT, said);
    refused("index", inputs, DSC_ERROR_INPUT, "input ids: ");
    ids[4] = before;
  }
}

static void wrong_outputs(void) {
  alignas(64) char memory[N * 8 * sizeof(float) + 8], before[sizeof memory];
  memset(memory, 0x5a, sizeof memory);
  memcpy(before, memory, sizeof memory);
  const struct {
    dsc_tensor given;
    dsc_status status;
    const char *said;
  } cases[] = {
      {{memory, DSC_INT32, 2, {N, 8}}, DSC_ERROR_OUTPUT, "was given memory for int32"},
      {{memory, DSC_FLOAT32, 1, {N * 8}}, DSC_ERROR_OUTPUT, "has 2 dims, was given memory of rank 1"},
      {{memory, DSC_FLOAT32, -1, {0}}, DSC_ERROR_OUTPUT, "was given memory of rank -1"},
      {{memory, DSC_FLOAT32, 2, {2, 8}}, DSC_ERROR_OUTPUT, "has dims [3, 8] here, was given memory for dims [2, 8]"},
      {{memory, DSC_FLOAT32, 2, {N + 1, 8}}, DSC_ERROR_OUTPUT, "was given memory for dims [4, 8]"},
      {{memory, DSC_FLOAT32, 2, {-3, 8}}, DSC_ERROR_OUTPUT, "dim 0 is negative"},
      {{memory + 2, DSC_FLOAT32, 2, {N, 8}}, DSC_ERROR_ARGUMENT, "data is not aligned"},
  };
  dsc_tensor inputs[INPUTS];
  right_inputs(inputs);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    dsc_tensor outputs[OUTPUTS] = {{0}};
    outputs[0] = cases[i].given;
    expect("output", dsc_run(model, inputs, INPUTS, outputs, OUTPUTS), cases[i].status, cases[i].said);
    require(cases[i].said, memcmp(memory, before, sizeof memory) == 0 && outputs[1].data == NULL);
  }
}

static void write_output(const char *folder, int number, const dsc_tensor *output) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%d.bin", folder, number);
  size_t size = dsc_type_size(output->type);
  for (int32_t axis = 0; axis < output->rank; ++axis) size *= (size_t)output->dims[axis];
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(output->data, 1, size, file) != size || fclose(file) != 0) exit(3);
}

/* Outputs in memory of the runtime, then in that memory again, then in an input's own. */
static void right_runs(const char *folder) {
  dsc_tensor inputs[INPUTS], outputs[OUTPUTS] = {{0}}, given[OUTPUTS] = {{0}};
  right_inputs(inputs);
  expect("run", dsc_run(model, inputs, INPUTS, outputs, OUTPUTS), DSC_OK, "");
  for (int i = 0; i < OUTPUTS; ++i) write_output(folder, i, &outputs[i]);
  require("alignment", (uintptr_t)outputs[0].data % 64 == 0);
  expect("run again", dsc_run(model, inputs, INPUTS, outputs, OUTPUTS), DSC_OK, "");
  float copy[N * 8];
  memcpy(copy, x, sizeof copy);
  given[0] = inputs[0];
  expect("run in place", dsc_run(model, inputs, INPUTS, given, OUTPUTS), DSC_OK, "");
  require("the same in an input's memory", memcmp(x, outputs[0].data, sizeof x) == 0);
  require("an input that is an output is what it was", memcmp(given[4].data, copy, sizeof copy) == 0);
  memcpy(x, copy, sizeof x);
  for (int i = 0; i < OUTPUTS; ++i) {
    dsc_release(&outputs[i]);
    require("released", outputs[i].data == NULL);
    if (i != 0) dsc_release(&given[i]);
  }
}

int main(int count, char **words) {
  if (count != 3) return 2;
  for (int i = 0; i < N * 8; ++i) x[i] = (float)(i % 5) - 1.5f * (float)(i % 3), z[i] = 0.25f * (float)i - 2.0f;
  for (int i = 0; i < N * K; ++i) ids[i] = i * 3 % 10 - 5;
  require("no failure yet", strcmp(dsc_error(), "") == 0);
  wrong_loads(words[1]);
  expect("load", dsc_load(words[1], 2, &model), DSC_OK, "");
  if (model == NULL) return 1;
  wrong_questions();
  right_questions();
  wrong_tensors();
  wrong_dims();
  wrong_indices();
  wrong_outputs();
  right_runs(words[2]);
  dsc_free(model);
  return wrong != 0;
}
