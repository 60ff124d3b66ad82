#include "session.h"

#include <utility>

#include "failure.h"

namespace dsc {
namespace {

/* As `dsc.runtime.sessions` and `dsc.runtime.checks` have them. */
constexpr const char *MAIN = "main", *BOUND = "main with weights", *SIZES = "sizes";
constexpr int64_t PASSED = -1;
/* Allocators of the virtual machine, as tvm.runtime.vm numbers them. */
constexpr int64_t NAIVE = 1, POOLED = 2;
constexpr DLDataType STATUS_TYPE = {kDLInt, 64, 1};

std::string replaced(std::string text, const std::string &place, int64_t number) {
  for (size_t at; (at = text.find(place)) != std::string::npos;) text.replace(at, place.size(), std::to_string(number));
  return text;
}

std::string failed_text(const Check &check, const int64_t *status) {
  return replaced(replaced(check.text, "{left}", status[1]), "{right}", status[2]);
}

/* The check whose number a status names. */
const Check &failed_check(const std::vector<Check> &checks, int64_t number) {
  if (number < 0 || static_cast<size_t>(number) >= checks.size()) {
    throw Failure(DSC_ERROR_DAMAGED, "the bundle's code fails a check that its description does not have");
  }
  return checks[static_cast<size_t>(number)];
}

std::vector<int64_t> dims_of(const dsc_tensor &tensor) { return {tensor.dims, tensor.dims + tensor.rank}; }

std::vector<tvm::Value> put(const Device &device, const Description &description, const dsc_tensor *inputs) {
  std::vector<tvm::Value> tensors;
  for (size_t i = 0; i < description.inputs.size(); ++i)
    tensors.push_back(device.put(inputs[i].data, description.inputs[i].type->stored, dims_of(inputs[i])));
  return tensors;
}

std::vector<TVMFFIAny> arguments_of(const std::vector<tvm::Value> &tensors) {
  std::vector<TVMFFIAny> arguments;
  for (const tvm::Value &tensor : tensors) arguments.push_back(tvm::argument(tensor));
  return arguments;
}

}  // namespace

Session::Session(const Description &description, const Device &device, const tvm::Value &library,
                 const std::vector<tvm::Value> &weights)
    : description_(description),
      device_(device),
      machine_(tvm::call(tvm::module_function(library, "vm_load_executable"), {})) {
  // the pool keeps every size it ever gave out: right for one set of sizes, a leak for many
  const int64_t allocator = description.has_free_dims() ? NAIVE : POOLED;
  std::vector<DLDevice> devices = {device.handle()};
  if (device.handle().device_type != kDLCPU) devices.push_back({kDLCPU, 0});  // which computes sizes
  std::vector<TVMFFIAny> places;
  for (const DLDevice &each : devices) {
    places.push_back(tvm::argument(int64_t{each.device_type}));
    places.push_back(tvm::argument(int64_t{each.device_id}));
    places.push_back(tvm::argument(allocator));
  }
  tvm::call(tvm::module_function(machine_, "vm_initialization"), places);
  std::vector<TVMFFIAny> bound = {tvm::argument(MAIN), tvm::argument(BOUND), tvm::argument(int64_t{1})};
  for (const tvm::Value &weight : weights) bound.push_back(tvm::argument(weight));
  tvm::call(tvm::module_function(machine_, "save_function"), bound);
  main_ = tvm::module_function(machine_, BOUND);
  if (!description.size_checks.empty()) sizes_ = tvm::module_function(library, SIZES);
  if (description.is_captured && wants_graphs()) captured_ = std::make_unique<CapturedRun>(library, machine_, main_);

  const tvm::Value arity = tvm::call(tvm::module_function(machine_, "get_function_arity"), {tvm::argument(MAIN)});
  if (arity.any().v_int64 != static_cast<int64_t>(description.inputs.size() + weights.size())) {
    throw Failure(DSC_ERROR_DAMAGED, "the bundle's code takes other inputs than its description says; make it again");
  }
}

std::vector<tvm::Value> Session::run(const dsc_tensor *inputs) {
  check_sizes(inputs);
  const tvm::Value computed = captured_ ? compute_captured(inputs) : compute(inputs);
  std::vector<tvm::Value> results;
  for (tvm::Value &result : tvm::items(computed)) results.push_back(device_.get(std::move(result)));
  if (!description_.index_checks.empty()) {
    if (results.empty()) throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives no status");
    check_indices(results.back());
    results.pop_back();
  }
  return results;
}

tvm::Value Session::compute(const dsc_tensor *inputs) {
  const std::vector<tvm::Value> tensors = put(device_, description_, inputs);
  return tvm::call(main_, arguments_of(tensors));
}

tvm::Value Session::compute_captured(const dsc_tensor *inputs) {
  if (tensors_.size() != description_.inputs.size()) {
    tensors_ = put(device_, description_, inputs);
  } else {
    for (size_t i = 0; i < tensors_.size(); ++i) tvm::copy_from(tensors_[i], inputs[i].data);
  }
  return (*captured_)(arguments_of(tensors_));
}

void Session::check_sizes(const dsc_tensor *inputs) {
  if (!sizes_.is(kTVMFFIFunction)) return;
  alignas(64) int64_t status[3] = {PASSED, 0, 0};
  const tvm::Value tensor = tvm::tensor(status, STATUS_TYPE, {3});
  std::vector<TVMFFIAny> arguments = {tvm::argument(tensor)};
  for (const Place &place : description_.symbols)
    arguments.push_back(tvm::argument(inputs[place.input].dims[place.axis]));
  tvm::call(sizes_, arguments);
  if (status[0] == PASSED) return;

  const Check &check = failed_check(description_.size_checks, status[0]);
  std::string given;
  for (const Place &place : check.places) {
    given += (given.empty() ? "" : "; ") + ("input " + description_.inputs[place.input].name) + ": dim " +
             std::to_string(place.axis) + " is " + std::to_string(inputs[place.input].dims[place.axis]);
  }
  throw Failure(DSC_ERROR_INPUT, (given.empty() ? "" : given + ". That does not fit ") + failed_text(check, status));
}

void Session::check_indices(const tvm::Value &found) const {
  const DLTensor &tensor = tvm::as_tensor(found);
  if (!same(tensor.dtype, STATUS_TYPE) || tensor.ndim != 1 || tensor.shape[0] != 3) {
    throw Failure(DSC_ERROR_DAMAGED, "the bundle's code gives no status");
  }
  const auto *status = reinterpret_cast<const int64_t *>(static_cast<const char *>(tensor.data) + tensor.byte_offset);
  if (status[0] == PASSED) return;
  const Check &check = failed_check(description_.index_checks, status[0]);
  std::string source;
  for (const Place &place : check.places) source += "input " + description_.inputs[place.input].name + ": ";
  throw Failure(DSC_ERROR_INPUT, source + failed_text(check, status));
}

SessionPool::SessionPool(const Description &description, const Device &device, const tvm::Value &library,
                         std::vector<tvm::Value> weights)
    : description_(description), device_(device), library_(library), weights_(std::move(weights)) {
  give_back(std::make_unique<Session>(description_, device_, library_, weights_));
}

std::unique_ptr<Session> SessionPool::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Session> session = std::move(idle_.back());
      idle_.pop_back();
      return session;
    }
  }
  return std::make_unique<Session>(description_, device_, library_, weights_);
}

void SessionPool::give_back(std::unique_ptr<Session> session) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(session));
}

}  // namespace dsc
