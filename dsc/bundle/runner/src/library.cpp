#include "library.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "failure.h"
#include "members.h"

namespace dsc {
namespace {

constexpr const char *RUNTIME[] = {"libtvm_ffi.so", "libtvm_runtime.so"};

/* A file in memory, which the system's loader takes by the name that it has in /proc. */
class MemoryFile {
 public:
  explicit MemoryFile(const Mapping &content) : number_(memfd_create("dsc model", MFD_CLOEXEC)) {
    if (number_ < 0)
      throw Failure(DSC_ERROR_MEMORY, std::string("no memory for the model's code: ") + std::strerror(errno));
    for (size_t written = 0; written < content.size();) {
      const ssize_t count = write(number_, content.data() + written, content.size() - written);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const std::string reason = std::strerror(errno);
        close(number_);
        throw Failure(DSC_ERROR_MEMORY, "no memory for the model's code: " + reason);
      }
      written += static_cast<size_t>(count);
    }
  }
  MemoryFile(const MemoryFile &) = delete;
  ~MemoryFile() { close(number_); }

  std::string path() const { return "/proc/self/fd/" + std::to_string(number_); }

 private:
  int number_;
};

/* Kernels report errors by a function of libtvm_ffi: it must be found even where a program has loaded us for itself. */
void show_runtime_to_all() {
  for (const char *name : RUNTIME) dlopen(name, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

int note_place(dl_phdr_info *info, size_t, void *into) {
  const std::string path = info->dlpi_name;
  (*static_cast<std::map<std::string, std::string> *>(into))[path.substr(path.rfind('/') + 1)] = path;
  return 0;
}

}  // namespace

tvm::Value load_library(const Mapping &code, int threads) {
  show_runtime_to_all();
  const MemoryFile file(code);
  tvm::Value library;
  try {
    const tvm::Value load = tvm::global_function("ffi.Module.load_from_file.so");
    library = tvm::call(load, {tvm::argument(file.path().c_str()), tvm::argument("so")});
  } catch (const Failure &failure) {
    throw Failure(DSC_ERROR_UNFIT, std::string("the bundle's lib.so cannot be loaded here: ") + failure.what());
  }
  const tvm::Value start = tvm::find_function(library, "dsc_start");
  if (start.is(kTVMFFIFunction)) tvm::call(start, {tvm::argument(int64_t{threads})});
  return library;
}

void check_runtime(const Description &description, int threads) {
  std::map<std::string, std::string> places;
  dl_iterate_phdr(note_place, &places);
  for (const char *name : RUNTIME) {
    if (places.count(name) == 0)
      throw Failure(DSC_ERROR_UNFIT, std::string(name) + " is not loaded; link libdsc.so as CMakeLists.txt does");
    try {
      check_file(Mapping(places[name]), description.file(name), places[name], threads);
    } catch (const Failure &failure) {
      throw Failure(DSC_ERROR_UNFIT,
                    std::string(failure.what()) + ": the bundle needs its own " + name + ", of " + description.runtime);
    }
  }
}

}  // namespace dsc
