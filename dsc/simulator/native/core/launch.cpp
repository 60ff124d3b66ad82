#include "launch.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "fault.h"

namespace simulator {

namespace {

// The addresses that a loaded library takes.
int find_extent(dl_phdr_info *info, size_t, void *data) {
  auto *image = static_cast<Image *>(data);
  const char *base = reinterpret_cast<const char *>(info->dlpi_addr);
  const char *begin = nullptr, *end = nullptr;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) &header = info->dlpi_phdr[i];
    if (header.p_type != PT_LOAD) continue;
    const char *start = base + header.p_vaddr;
    if (!begin || start < begin) begin = start;
    if (!end || start + header.p_memsz > end) end = start + header.p_memsz;
  }
  const char *inside = reinterpret_cast<const char *>(image->module);
  if (inside < begin || inside >= end) return 0;
  image->begin = begin;
  image->end = end;
  return 1;
}

// A path of an open file that was never used before: the loader takes a library whose name it knows for the one it has.
// The number is written in slashes, which mean nothing to the system.
std::string unused_path(int file) {
  static std::atomic<unsigned> count{0};
  std::string path = "/proc/self/fd";
  for (unsigned number = count++; number; number /= 2) path += number % 2 ? "/./" : "//";
  return path + "/" + std::to_string(file);
}

// Kernels call the core by name, whoever has loaded it for itself.
void show_core_to_all() {
  Dl_info own;
  if (dladdr(reinterpret_cast<void *>(&show_core_to_all), &own))
    dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

// Libraries are loaded from memory, by the name that the system gives an open file.
void *load_library(const char *bytes, size_t size, std::string &error) {
  int file = memfd_create("dsc-simulator", MFD_CLOEXEC);
  if (file < 0 || write(file, bytes, size) != static_cast<ssize_t>(size)) {
    error = std::string("a file in memory cannot be made: ") + strerror(errno);
    if (file >= 0) close(file);
    return nullptr;
  }
  show_core_to_all();
  void *library = dlopen(unused_path(file).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) error = dlerror();
  close(file);
  return library;
}

// Why a launch cannot be, or nothing.
std::string objection(const SimulatorKernel &kernel, SimulatorIndex grid, SimulatorIndex block, size_t dynamic_shared) {
  const Machine &limits = machine();
  uint64_t threads = uint64_t{block.x} * block.y * block.z;
  auto limit = [](const char *what, uint64_t wanted, uint64_t most) {
    return std::string("is launched with ") + std::to_string(wanted) + " " + what + ", at most " +
           std::to_string(most) + " are possible";
  };
  uint64_t most_threads = static_cast<uint64_t>(limits.max_threads);
  if (kernel.max_threads) most_threads = std::min<uint64_t>(most_threads, static_cast<uint64_t>(kernel.max_threads));
  if (threads == 0 || uint64_t{grid.x} * grid.y * grid.z == 0) return "is launched with no threads";
  if (threads > most_threads) return limit("threads in a block", threads, most_threads);
  if (block.z > 64) return limit("threads in z", block.z, 64);
  if (grid.y > 65535) return limit("blocks in y", grid.y, 65535);
  if (grid.z > 65535) return limit("blocks in z", grid.z, 65535);
  size_t most_shared = static_cast<size_t>(limits.shared_bytes_optin);
  if (dynamic_shared > most_shared) return limit("bytes of dynamic shared memory", dynamic_shared, most_shared);
  return "";
}

Worker &worker(size_t number) {
  static std::vector<std::unique_ptr<Worker>> workers;
  while (workers.size() <= number) workers.push_back(std::make_unique<Worker>());
  return *workers[number];
}

// Threads of the operating system cost some 50 us, so only as many as there are blocks to share.
void run(Launch &launch, Counters &counters) {
  size_t count = std::min<uint64_t>(static_cast<uint64_t>(settings().workers), launch.blocks());
  for (size_t i = 0; i < count; ++i) worker(i);
  auto work = [&launch](Worker &each) {
    SignalGuard guard;
    each.run(launch);
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < count; ++i) helpers.emplace_back(work, std::ref(worker(i)));
  work(worker(0));
  for (std::thread &helper : helpers) helper.join();
  for (size_t i = 0; i < count; ++i) counters.add(worker(i).counters());
}

}  // namespace

Image *load_image(const void *bytes, std::string &error) {
  ImageHeader header;
  memcpy(&header, bytes, sizeof(header));
  if (memcmp(header.magic, kImageMagic, sizeof(kImageMagic)) != 0) {
    error = "this is no code for the simulator: a cubin or PTX, which a device runs?";
    return nullptr;
  }
  auto image = std::make_unique<Image>();
  image->id = header.id;
  image->library = load_library(static_cast<const char *>(bytes) + sizeof(header), header.size, error);
  if (!image->library) return nullptr;
  image->module = static_cast<const SimulatorModule *>(dlsym(image->library, "simulator_module"));
  if (!image->module || image->module->abi != SIMULATOR_ABI) {
    error = "the code was compiled for another version of the simulator: compile it again";
    dlclose(image->library);
    return nullptr;
  }
  dl_iterate_phdr(find_extent, image.get());
  return image.release();
}

void unload_image(Image *image) {
  // The library stays: faults that were recorded point into it, and a process loads few.
  delete image;
}

const SimulatorKernel *find_kernel(const Image &image, const char *name) {
  for (int i = 0; i < image.module->count; ++i)
    if (strcmp(image.module->kernels[i].name, name) == 0) return &image.module->kernels[i];
  return nullptr;
}

bool launch(const Image &image, const SimulatorKernel &kernel, SimulatorIndex grid, SimulatorIndex block,
            size_t dynamic_shared, void **arguments) {
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> lock(one_at_a_time);
  std::string reason = objection(kernel, grid, block, dynamic_shared);
  if (!reason.empty()) {
    Faults::instance().add({kernel.name, {}, {}, reason, image.id, 0});
    return false;
  }
  Launch job;
  job.image = &image;
  job.kernel = &kernel;
  job.grid = grid;
  job.block = block;
  job.dynamic_shared = dynamic_shared;
  job.arguments = arguments;
  Counters counters;
  run(job, counters);
  counters.launches = 1;
  CounterTable::instance().add(kernel.name, counters);
  return !job.failed;
}

}  // namespace simulator
