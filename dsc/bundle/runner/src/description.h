/* bundle.txt: what the bundle holds, what it needs, what the model takes and gives.
 *
 * One fact a line, words between single spaces. A word that is a text begins with "=", and bytes of it that are not
 * printable ASCII, and "%", are written as % and two hexadecimal digits. The last line is the hash of all before it.
 * `dsc.bundle.description` writes it.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "element_type.h"
#include "mapping.h"

namespace dsc {

struct Dim {
  int64_t size;     /* -1 where it is free */
  std::string name; /* of a free one; may be empty */
};

struct TensorSpec {
  std::string name;
  const ElementType *type;
  std::vector<Dim> dims;

  std::string text() const; /* "x: float32[batch, 3]", for messages */
};

/* Where a parameter lies in the file of weights. */
struct Parameter {
  size_t offset; /* bytes */
  const ElementType *type;
  std::vector<int64_t> dims;
};

/* A dim of an input. */
struct Place {
  size_t input;
  size_t axis;
};

/* What a run requires; the library knows it by its number. */
struct Check {
  std::string text; /* what to say where it does not hold, with places for {left} and {right} */
  std::vector<Place> places;
};

/* A GPU that runs the kernels; without a name where the processor does. */
struct GpuNeed {
  std::string device; /* "rocm" or "cuda" */
  std::string arch;   /* "gfx942", "sm_80" */
};

struct File {
  std::string name;
  size_t size;
  std::string hash; /* SHA-256 of the SHA-256s of its blocks */
};

struct Description {
  std::string model;
  std::string target;                /* name of the machine */
  std::string arch;                  /* as uname has it */
  std::vector<std::string> features; /* as Linux names them */
  std::string runtime;               /* "apache-tvm 0.27.0" */
  GpuNeed gpu;
  bool is_captured = false; /* the launches of a run are one graph from the second on */
  std::vector<File> files;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<Parameter> parameters; /* in the order in which the code takes them */
  std::vector<Place> symbols;        /* the dims that the check of sizes takes */
  std::vector<Check> size_checks, index_checks;

  bool has_free_dims() const;
  /* Throws Failure (DSC_ERROR_DAMAGED) where it does not list the file. */
  const File &file(const std::string &name) const;
};

/* Read bundle.txt. `path` is for messages. Throws Failure: it was changed, or is of another version of dsc. */
Description read_description(const Mapping &text, const std::string &path);

}  // namespace dsc
