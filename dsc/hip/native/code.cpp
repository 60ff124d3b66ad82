#include "code.h"

namespace dsc::hip {

Code::~Code() {
  // Where the process ends HIP may be gone before, and its memory with it.
  for (auto &[gpu, loaded] : by_gpu_)
    if (loaded.module && api().hipSetDevice(gpu) == hipSuccess) (void)api().hipModuleUnload(loaded.module);
}

void Code::load() {
  std::lock_guard<std::mutex> lock(mutex_);
  on_current_gpu();
}

hipFunction_t Code::function(const std::string &kernel) {
  std::lock_guard<std::mutex> lock(mutex_);
  return on_current_gpu().functions.at(kernel);
}

Code::Loaded &Code::on_current_gpu() {
  int gpu = current_gpu();
  if (auto found = by_gpu_.find(gpu); found != by_gpu_.end()) return found->second;
  const std::string first = kernels().empty() ? "no kernel" : "kernel " + kernels()[0].kernel;
  hipModule_t module = nullptr;
  check(api().hipModuleLoadData(&module, content_.code.data()), "loading the code of " + first);
  Loaded &loaded = by_gpu_[gpu];
  loaded.module = module;
  for (const Signature &each : kernels())
    check(api().hipModuleGetFunction(&loaded.functions[each.kernel], module, each.kernel.c_str()),
          "finding kernel " + each.kernel);
  return loaded;
}

int current_gpu() {
  int gpu = 0;
  check(api().hipGetDevice(&gpu), "asking for the current GPU");
  return gpu;
}

}  // namespace dsc::hip
