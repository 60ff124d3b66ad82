/* dsc.h: running a model that `dsc bundle` wrote, from C.
 *
 *     dsc_model *model;
 *     if (dsc_load("resnet50", 0, &model) != DSC_OK) return puts(dsc_error());
 *     float pixels[1 * 3 * 224 * 224] = {0};
 *     dsc_tensor input = {pixels, DSC_FLOAT32, 4, {1, 3, 224, 224}};
 *     dsc_tensor output = {0};
 *     if (dsc_run(model, &input, 1, &output, 1) != DSC_OK) return puts(dsc_error());
 *     ... output.data, output.dims ...
 *     dsc_release(&output);
 *     dsc_free(model);
 *
 * Whatever is passed is checked before it is used: a call that fails says why (`dsc_error`), and has changed nothing.
 *
 * Threads: any number of threads may call `dsc_run` and ask for facts of one model at once; each run has its own state.
 * The threads that a model was loaded with share the loops of one run at a time; runs beside it compute alone. While
 * `dsc_free` runs, and after it, nobody else may use the model. A tensor is used by one thread at a time. A child
 * of fork must not use a model that its parent loaded with more than one thread while another thread ran it.
 *
 * The interface is that of C, all sizes of its types are fixed, and what there is does not change: `DSC_API_VERSION`
 * counts what is added.
 */
#ifndef DSC_H
#define DSC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DSC_API_VERSION 1
#define DSC_MAX_RANK 16
#define DSC_MAX_THREADS 256
#define DSC_API __attribute__((visibility("default")))

/* What became of a call. */
typedef int32_t dsc_status;
enum {
  DSC_OK = 0,
  DSC_ERROR_INTERNAL = 1, /* a fault of dsc's own, or of the runtime under it */
  DSC_ERROR_ARGUMENT = 2, /* NULL where something must be, a number out of range */
  DSC_ERROR_INPUT = 3,    /* an input that is not of the model's types and sizes, or an index outside of a tensor */
  DSC_ERROR_OUTPUT = 4,   /* memory for an output that is not of its type and size */
  DSC_ERROR_FILE = 5,     /* a file that is missing or cannot be read */
  DSC_ERROR_DAMAGED = 6,  /* a file of the bundle that was changed after it was written */
  DSC_ERROR_UNFIT = 7,    /* made for another processor, or another version of the runtime */
  DSC_ERROR_MEMORY = 8    /* too little memory for what is computed */
};

/* Types of elements: the numbers of ONNX's TensorProto.DataType. Those of less than a byte take one byte each, their
 * value in its low bits. */
enum {
  DSC_FLOAT32 = 1,
  DSC_UINT8 = 2,
  DSC_INT8 = 3,
  DSC_UINT16 = 4,
  DSC_INT16 = 5,
  DSC_INT32 = 6,
  DSC_INT64 = 7,
  DSC_BOOL = 9,
  DSC_FLOAT16 = 10,
  DSC_FLOAT64 = 11,
  DSC_UINT32 = 12,
  DSC_UINT64 = 13,
  DSC_BFLOAT16 = 16,
  DSC_FLOAT8E4M3FN = 17,
  DSC_FLOAT8E4M3FNUZ = 18,
  DSC_FLOAT8E5M2 = 19,
  DSC_FLOAT8E5M2FNUZ = 20,
  DSC_UINT4 = 21,
  DSC_INT4 = 22,
  DSC_FLOAT4E2M1FN = 23,
  DSC_FLOAT8E8M0FNU = 24,
  DSC_UINT2 = 25,
  DSC_INT2 = 26,
  DSC_FLOAT6E2M3FN = 27,
  DSC_FLOAT6E3M2FN = 28
};

/* A tensor: its elements one after the other, the last dim's first. Memory is aligned to the size of an element.
 * `data` may be NULL where there are no elements. */
typedef struct dsc_tensor {
  void *data; /* not written to where it is an input */
  int32_t type;
  int32_t rank;
  int64_t dims[DSC_MAX_RANK]; /* the first `rank` count */
} dsc_tensor;

/* What the model says of an input or an output. */
typedef struct dsc_info {
  const char *name;
  int32_t type;
  int32_t rank;
  int64_t dims[DSC_MAX_RANK];          /* -1 where it is free */
  const char *dim_names[DSC_MAX_RANK]; /* of free dims: equal names are equal sizes; NULL where it has no name */
} dsc_info;

typedef struct dsc_model dsc_model;

/* Load the bundle in the folder `path`, after checking every byte of it and that this processor can run it.
 * threads: cores that a run uses, from 1 to DSC_MAX_THREADS; 0 for all cores that this process may use.
 * Loading runs the code in the bundle: the checks find damage, not malice. */
DSC_API dsc_status dsc_load(const char *path, int32_t threads, dsc_model **model);

/* End a model and its threads; NULL is fine. Outputs of its runs stay valid. */
DSC_API void dsc_free(dsc_model *model);

/* How many inputs and outputs there are; 0 for NULL. */
DSC_API size_t dsc_input_count(const dsc_model *model);
DSC_API size_t dsc_output_count(const dsc_model *model);

/* What input or output number `index` is. The names belong to the model. */
DSC_API dsc_status dsc_input(const dsc_model *model, size_t index, dsc_info *info);
DSC_API dsc_status dsc_output(const dsc_model *model, size_t index, dsc_info *info);

/* How many threads a run uses, the caller's among them; 0 for NULL. */
DSC_API int32_t dsc_threads(const dsc_model *model);

/* Compute the outputs, in the order of the model.
 * An output whose `data` is NULL is given memory, type, rank and dims: release it with `dsc_release`. One whose `data`
 * is not NULL is the caller's: it must say the type and the dims that the result has, and the elements are written to it.
 * An output may be given the memory of an input, but not that of another output. */
DSC_API dsc_status dsc_run(dsc_model *model, const dsc_tensor *inputs, size_t input_count, dsc_tensor *outputs,
                           size_t output_count);

/* Release the memory that `dsc_run` gave an output, and set `data` to NULL. NULL is fine. */
DSC_API void dsc_release(dsc_tensor *tensor);

/* Why the last call in this thread that failed did; "" if none has. Valid until the next one fails. */
DSC_API const char *dsc_error(void);

/* The name of a type ("float32") and the bytes of an element; NULL and 0 for what is no type. */
DSC_API const char *dsc_type_name(int32_t type);
DSC_API size_t dsc_type_size(int32_t type);

/* DSC_API_VERSION of the library. */
DSC_API int32_t dsc_api_version(void);

#ifdef __cplusplus
}
#endif
#endif
