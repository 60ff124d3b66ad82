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
constexpr const char *NO_MEMORY = "no memory for the model's code: ";

void write_all(int file, const uint8_t *data, size_t size) {
  while (size != 0) {
    const ssize_t count = write(file, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Failure(DSC_ERROR_MEMORY, std::string(NO_MEMORY) + std::strerror(errno));
    data += count;
    size -= static_cast<size_t>(count);
  }
}

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

MemoryFile::MemoryFile(const Mapping &content) : number_(memfd_create("dsc model", MFD_CLOEXEC)) {
  if (number_ < 0) throw Failure(DSC_ERROR_MEMORY, std::string(NO_MEMORY) + std::strerror(errno));
  try {
    write_all(number_, content.data(), content.size());
  } catch (...) {
    close(number_);
    throw;
  }
}

MemoryFile::~MemoryFile() { close(number_); }

std::string MemoryFile::path() const { return "/proc/self/fd/" + std::to_string(number_); }

Library::Library(const Mapping &code, int threads) : file_(code) {
  show_runtime_to_all();
  try {
    const tvm::Value load = tvm::global_function("ffi.Module.load_from_file.so");
    module_ = tvm::call(load, {tvm::argument(file_.path().c_str()), tvm::argument("so")});
  } catch (const Failure &failure) {
    throw Failure(DSC_ERROR_UNFIT, std::string("the bundle's lib.so cannot be loaded here: ") + failure.what());
  }
  const tvm::Value start = tvm::find_function(module_, "dsc_start");
  if (start.is(kTVMFFIFunction)) tvm::call(start, {tvm::argument(int64_t{threads})});
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
