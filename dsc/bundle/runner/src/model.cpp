#include "model.h"

#include <utility>

#include "failure.h"
#include "fit.h"
#include "members.h"
#include "processor.h"
#include "results.h"

namespace dsc {
namespace {

constexpr const char *DESCRIPTION = "bundle.txt", *LIBRARY = "lib.so", *WEIGHTS = "weights.safetensors";

Description described(const std::string &folder) {
  const std::string path = folder + "/" + DESCRIPTION;
  return read_description(Mapping(path), path);
}

/* A file of the bundle, every byte of it checked. */
Mapping checked(const Description &description, const std::string &folder, const char *name, int threads) {
  const std::string path = folder + "/" + name;
  Mapping content(path);
  check_file(content, description.file(name), path, threads);
  return content;
}

/* The parameters in the order of the code: where they lie in the file, whose pages are shared with all that map it, or
 * in the memory of a GPU. */
std::vector<tvm::Value> parameters(const Description &description, const Mapping &weights, const Device &device) {
  std::vector<tvm::Value> tensors;
  for (const Parameter &parameter : description.parameters) {
    const size_t size =
        byte_size("a weight", parameter.type->size(), parameter.dims.data(), parameter.dims.size(), DSC_ERROR_DAMAGED);
    if (parameter.offset > weights.size() || size > weights.size() - parameter.offset) {
      throw Failure(DSC_ERROR_DAMAGED, "a weight lies outside of the file of weights; make the bundle again");
    }
    tensors.push_back(device.put(weights.data() + parameter.offset, parameter.type->stored, parameter.dims));
  }
  return tensors;
}

/* The code, once it is known to run here. */
Mapping code(const Description &description, const std::string &folder, int threads) {
  check_processor(description);
  check_runtime(description, threads);
  return checked(description, folder, LIBRARY, threads);
}

}  // namespace
}  // namespace dsc

dsc_model::dsc_model(const std::string &folder, int threads)
    : description_(dsc::described(folder)),
      threads_(threads),
      weights_(dsc::checked(description_, folder, dsc::WEIGHTS, threads)),
      device_(dsc::find_device(description_, folder)),
      library_(dsc::code(description_, folder, threads), threads),
      sessions_(description_, *device_, library_.module(), dsc::parameters(description_, weights_, *device_)) {}

void dsc_model::run(const dsc_tensor *inputs, size_t input_count, dsc_tensor *outputs, size_t output_count) {
  dsc::check_inputs(description_, inputs, input_count);
  dsc::check_outputs(description_, outputs, output_count);
  std::unique_ptr<dsc::Session> session = sessions_.take();
  try {
    dsc::hand_out(description_, session->run(inputs), outputs);
  } catch (const dsc::Failure &failure) {
    const bool is_callers = failure.status() == DSC_ERROR_INPUT || failure.status() == DSC_ERROR_OUTPUT;
    if (is_callers) sessions_.give_back(std::move(session));
    throw;
  }
  sessions_.give_back(std::move(session));
}
