// The code of a module, loaded on the GPUs that are asked for its kernels.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "api.h"
#include "module_bytes.h"

namespace dsc::hip {

class Code {
 public:
  explicit Code(ModuleBytes content) : content_(std::move(content)) {}
  Code(const Code &) = delete;
  Code &operator=(const Code &) = delete;
  ~Code();

  const std::vector<Signature> &kernels() const { return content_.kernels; }

  // Load it on the current GPU, if it is not yet, and find all kernels in it. Throws an error of TVM's where HIP
  // refuses.
  void load();
  // A kernel on the current GPU, loaded likewise.
  hipFunction_t function(const std::string &kernel);

 private:
  struct Loaded {
    hipModule_t module = nullptr;
    std::map<std::string, hipFunction_t> functions;
  };

  Loaded &on_current_gpu();

  const ModuleBytes content_;
  std::map<int, Loaded> by_gpu_;
  std::mutex mutex_;
};

// The current GPU of this thread.
int current_gpu();

}  // namespace dsc::hip
