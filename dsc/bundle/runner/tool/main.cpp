/* dsc-run: a bundle on inputs from files. Everything goes through dsc.h, as in a program of yours. */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "dsc.h"
#include "options.h"
#include "tensor_file.h"

namespace {

using tool::Options;
using tool::OwnedTensor;
using tool::UsageError;

constexpr int INTERNAL_ERROR = 1, WRONG_REQUEST = 2, NO_MEMORY = 3; /* as those of `dsc` */

/* A call of dsc.h that failed. */
struct CallFailed {
  dsc_status status;
};

void check(dsc_status status) {
  if (status != DSC_OK) throw CallFailed{status};
}

struct Free {
  void operator()(dsc_model *model) const { dsc_free(model); }
};
using Model = std::unique_ptr<dsc_model, Free>;

using Ask = dsc_status (*)(const dsc_model *, size_t, dsc_info *);

std::vector<dsc_info> infos(const Model &model, size_t count, Ask ask) {
  std::vector<dsc_info> found(count);
  for (size_t i = 0; i < count; ++i) check(ask(model.get(), i, &found[i]));
  return found;
}

std::string dims_text(const dsc_info &info, const int64_t *dims) {
  std::string text = std::string(info.name) + ": " + dsc_type_name(info.type) + "[";
  for (int32_t axis = 0; axis < info.rank; ++axis) {
    const char *name = info.dim_names[axis] == nullptr ? "?" : info.dim_names[axis];
    text += (axis == 0 ? "" : ", ") + (dims[axis] < 0 ? name : std::to_string(dims[axis]));
  }
  return text + "]";
}

std::string names(const std::vector<dsc_info> &all) {
  std::string text;
  for (const dsc_info &info : all) text += (text.empty() ? "" : ", ") + std::string(info.name);
  return text;
}

/* Which tensor "NAME=FILE" is of, and the file. Names and paths may hold "=": the name is one that the model has. */
std::pair<size_t, std::string> split(const std::string &option, const std::string &text,
                                     const std::vector<dsc_info> &all) {
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string start = std::string(all[i].name) + "=";
    if (text.compare(0, start.size(), start) == 0) return {i, text.substr(start.size())};
  }
  if (all.size() == 1 && text.find('=') == std::string::npos) return {0, text};
  throw UsageError(option + " " + text + ": say for which, as NAME=FILE; the model has " + names(all));
}

/* The files of the tensors, in their order; empty where none was named. */
std::vector<std::string> files(const std::string &option, const std::vector<std::string> &texts,
                               const std::vector<dsc_info> &all) {
  std::vector<std::string> found(all.size());
  for (const std::string &text : texts) {
    const auto [index, path] = split(option, text, all);
    if (!found[index].empty()) throw UsageError(option + " " + text + ": " + all[index].name + " is named twice");
    if (path.empty()) throw UsageError(option + " " + text + ": no file is named");
    found[index] = path;
  }
  return found;
}

std::vector<OwnedTensor> read_inputs(const Options &options, const std::vector<dsc_info> &inputs) {
  const std::vector<std::string> paths = files("--input", options.inputs, inputs);
  std::vector<OwnedTensor> tensors;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (paths[i].empty())
      throw UsageError(std::string("there is no --input for ") + inputs[i].name + "; the model takes " + names(inputs));
    tensors.push_back(tool::read_tensor(paths[i], inputs[i]));
  }
  return tensors;
}

/* The outputs of a run, released with it. */
class Outputs {
 public:
  explicit Outputs(size_t count) : tensors_(count) {}
  Outputs(const Outputs &) = delete;
  ~Outputs() {
    for (dsc_tensor &tensor : tensors_) dsc_release(&tensor);
  }
  std::vector<dsc_tensor> &tensors() { return tensors_; }

 private:
  std::vector<dsc_tensor> tensors_;
};

double run(const Model &model, const std::vector<dsc_tensor> &inputs, std::vector<dsc_tensor> &outputs) {
  const auto start = std::chrono::steady_clock::now();
  check(dsc_run(model.get(), inputs.data(), inputs.size(), outputs.data(), outputs.size()));
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void print_times(const Model &model, const std::vector<dsc_tensor> &inputs, std::vector<dsc_tensor> &outputs,
                 int repeat) {
  std::vector<double> times(static_cast<size_t>(repeat));
  for (double &time : times) time = run(model, inputs, outputs);  // into the memory of the first run
  std::sort(times.begin(), times.end());
  std::printf("%d runs on %d threads: median %.3f ms, fastest %.3f ms, slowest %.3f ms\n", repeat,
              static_cast<int>(dsc_threads(model.get())), times[times.size() / 2], times.front(), times.back());
}

void work(const Options &options) {
  dsc_model *loaded = nullptr;
  check(dsc_load(options.folder.c_str(), options.threads, &loaded));
  const Model model(loaded);
  const std::vector<dsc_info> takes = infos(model, dsc_input_count(loaded), dsc_input);
  const std::vector<dsc_info> gives = infos(model, dsc_output_count(loaded), dsc_output);
  const std::vector<std::string> paths = files("--output", options.outputs, gives);
  if (options.inputs.empty() && !takes.empty()) {
    for (const dsc_info &info : takes) std::printf("input  %s\n", dims_text(info, info.dims).c_str());
    for (const dsc_info &info : gives) std::printf("output %s\n", dims_text(info, info.dims).c_str());
    return;
  }
  std::vector<OwnedTensor> owned = read_inputs(options, takes);
  std::vector<dsc_tensor> inputs;
  for (const OwnedTensor &input : owned) inputs.push_back(input.tensor);
  Outputs outputs(gives.size());
  run(model, inputs, outputs.tensors());
  if (options.repeat != 0) print_times(model, inputs, outputs.tensors(), options.repeat);
  for (size_t i = 0; i < gives.size(); ++i) {
    std::printf("%s\n", dims_text(gives[i], outputs.tensors()[i].dims).c_str());
    if (!paths[i].empty()) tool::write_tensor(paths[i], outputs.tensors()[i]);
  }
}

int failed(const char *message, int code) {
  std::fprintf(stderr, "dsc-run: error: %s\n", message);
  return code;
}

int exit_code(dsc_status status) {
  if (status == DSC_ERROR_INTERNAL) return INTERNAL_ERROR;
  return status == DSC_ERROR_MEMORY ? NO_MEMORY : WRONG_REQUEST;
}

}  // namespace

int main(int count, char **words) {
  try {
    const Options options = tool::parse_options(count, words);
    if (options.help) {
      std::fputs(tool::USAGE, stdout);
      return 0;
    }
    work(options);
    return std::fflush(stdout) == 0 ? 0 : failed("cannot write the standard output", WRONG_REQUEST);
  } catch (const CallFailed &call) {
    return failed(dsc_error(), exit_code(call.status));
  } catch (const UsageError &error) {
    return failed(error.what(), WRONG_REQUEST);
  } catch (const std::bad_alloc &) {
    return failed("not enough memory", NO_MEMORY);
  } catch (const std::exception &error) {
    return failed(error.what(), INTERNAL_ERROR);
  }
}
