/* The functions of dsc.h. */
#include "dsc.h"

#include <cstdlib>

#include "element_type.h"
#include "failure.h"
#include "model.h"
#include "processor.h"

namespace {

using dsc::Failure;

void require(const void *pointer, const char *message) {
  if (pointer == nullptr) throw Failure(DSC_ERROR_ARGUMENT, message);
}

void describe(const std::vector<dsc::TensorSpec> &specs, size_t index, dsc_info *info) {
  require(info, "info is NULL");
  if (index >= specs.size()) {
    throw Failure(DSC_ERROR_ARGUMENT,
                  "there is no number " + std::to_string(index) + " of " + std::to_string(specs.size()));
  }
  const dsc::TensorSpec &spec = specs[index];
  *info = {spec.name.c_str(), spec.type->code, static_cast<int32_t>(spec.dims.size()), {}, {}};
  for (size_t axis = 0; axis < spec.dims.size(); ++axis) {
    info->dims[axis] = spec.dims[axis].size;
    info->dim_names[axis] = spec.dims[axis].name.empty() ? nullptr : spec.dims[axis].name.c_str();
  }
}

}  // namespace

dsc_status dsc_load(const char *path, int32_t threads, dsc_model **model) {
  return dsc::guarded([&] {
    require(model, "model is NULL: there is no place for the result");
    *model = nullptr;
    require(path, "path is NULL");
    if (threads < 0 || threads > DSC_MAX_THREADS) {
      throw Failure(DSC_ERROR_ARGUMENT, "threads must be a number from 1 to " + std::to_string(DSC_MAX_THREADS) +
                                            ", or 0 for all cores, not " + std::to_string(threads));
    }
    *model = new dsc_model(path, threads != 0 ? threads : dsc::usable_cores());
  });
}

void dsc_free(dsc_model *model) { delete model; }

size_t dsc_input_count(const dsc_model *model) { return model == nullptr ? 0 : model->description().inputs.size(); }

size_t dsc_output_count(const dsc_model *model) { return model == nullptr ? 0 : model->description().outputs.size(); }

dsc_status dsc_input(const dsc_model *model, size_t index, dsc_info *info) {
  return dsc::guarded([&] {
    require(model, "model is NULL");
    describe(model->description().inputs, index, info);
  });
}

dsc_status dsc_output(const dsc_model *model, size_t index, dsc_info *info) {
  return dsc::guarded([&] {
    require(model, "model is NULL");
    describe(model->description().outputs, index, info);
  });
}

int32_t dsc_threads(const dsc_model *model) { return model == nullptr ? 0 : model->threads(); }

dsc_status dsc_run(dsc_model *model, const dsc_tensor *inputs, size_t input_count, dsc_tensor *outputs,
                   size_t output_count) {
  return dsc::guarded([&] {
    require(model, "model is NULL");
    model->run(inputs, input_count, outputs, output_count);
  });
}

void dsc_release(dsc_tensor *tensor) {
  if (tensor == nullptr) return;
  std::free(tensor->data);
  tensor->data = nullptr;
}

const char *dsc_error(void) { return dsc::last_message(); }

const char *dsc_type_name(int32_t type) {
  const dsc::ElementType *found = dsc::element_type(type);
  return found == nullptr ? nullptr : found->name;
}

size_t dsc_type_size(int32_t type) {
  const dsc::ElementType *found = dsc::element_type(type);
  return found == nullptr ? 0 : found->size();
}

int32_t dsc_api_version(void) { return DSC_API_VERSION; }
