#include "device.h"

#include <tvm/ffi/string.h>

#include "api.h"
#include "runtime/workspace_pool.h"

namespace dsc::hip {

namespace {

using tvm::Device;
using tvm::runtime::DeviceAPI;
using tvm::runtime::DeviceAttrKind;

// hipMalloc's addresses are multiples of this.
constexpr size_t kAlignment = 256;

// The answer to kMaxThreadsPerBlock. TVM's code generator asks for it where there is a GPU, and promises LLVM that no
// block has more; elsewhere it promises this. Code must not depend on whether there is a GPU where it is compiled.
constexpr int64_t kPromisedThreads = 256;

hipDeviceProp_t properties(int device) {
  hipDeviceProp_t found;
  check(api().hipGetDeviceProperties(&found, device), "properties of GPU " + std::to_string(device));
  return found;
}

size_t free_memory(int device) {
  size_t free = 0, total = 0;
  check(api().hipSetDevice(device), "choosing GPU " + std::to_string(device));
  check(api().hipMemGetInfo(&free, &total), "free memory of GPU " + std::to_string(device));
  return free;
}

std::string bytes(size_t count) { return std::to_string(count) + " bytes"; }

class Gpus final : public DeviceAPI {
 public:
  void SetDevice(Device device) final { choose(device); }

  void GetAttr(Device device, DeviceAttrKind kind, tvm::ffi::Any *answer) final {
    if (kind == tvm::runtime::kExist) {
      *answer = int64_t{problem(device.device_id).empty()};
    } else if (kind == tvm::runtime::kMaxThreadsPerBlock) {
      *answer = kPromisedThreads;
    } else if (kind == tvm::runtime::kAvailableGlobalMemory) {
      *answer = static_cast<int64_t>(free_memory(device.device_id));
    } else if (kind == tvm::runtime::kApiVersion) {
      *answer = int64_t{HIP_VERSION};
    } else {
      answer_property(properties(device.device_id), kind, answer);
    }
  }

  void *AllocDataSpace(Device device, size_t size, size_t alignment, DLDataType) final {
    if (kAlignment % alignment != 0)
      TVM_FFI_THROW(ValueError) << "memory of a GPU is aligned to " << kAlignment << " bytes, not to " << alignment;
    choose(device);
    void *memory = nullptr;
    check(api().hipMalloc(&memory, size), "allocating " + bytes(size));
    return memory;
  }

  // Tensors are freed where nobody catches an error. One that comes here was there before: HIP repeats what a kernel
  // has broken in every later call, and the first to get it has thrown it.
  void FreeDataSpace(Device device, void *memory) final {
    if (api().hipSetDevice(device.device_id) == hipSuccess) (void)api().hipFree(memory);
  }

  TVMStreamHandle CreateStream(Device device) final {
    choose(device);
    hipStream_t stream = nullptr;
    check(api().hipStreamCreate(&stream), "creating a stream");
    return stream;
  }

  void FreeStream(Device device, TVMStreamHandle stream) final {
    choose(device);
    check(api().hipStreamDestroy(static_cast<hipStream_t>(stream)), "destroying a stream");
  }

  void StreamSync(Device device, TVMStreamHandle stream) final {
    choose(device);
    check(api().hipStreamSynchronize(static_cast<hipStream_t>(stream)), "waiting for kernels");
  }

  void SyncStreamFromTo(Device device, TVMStreamHandle before, TVMStreamHandle after) final {
    choose(device);
    hipEvent_t event = nullptr;
    check(api().hipEventCreateWithFlags(&event, hipEventDisableTiming), "creating an event");
    hipError_t result = api().hipEventRecord(event, static_cast<hipStream_t>(before));
    if (result == hipSuccess) result = api().hipStreamWaitEvent(static_cast<hipStream_t>(after), event, 0);
    hipError_t destroyed = api().hipEventDestroy(event);
    check(result == hipSuccess ? destroyed : result, "making a stream wait for another");
  }

  void *AllocWorkspace(Device device, size_t size, DLDataType) final {
    return workspace().AllocWorkspace(device, size);
  }

  void FreeWorkspace(Device device, void *memory) final { workspace().FreeWorkspace(device, memory); }

  // The address of memory of a GPU is one for HIP, so places within a tensor may be computed here.
  bool SupportsDevicePointerArithmeticsOnHost() final { return true; }

 protected:
  void CopyDataFromTo(const void *from, size_t from_offset, void *to, size_t to_offset, size_t size, Device source,
                      Device target, DLDataType, TVMStreamHandle handle) final {
    from = static_cast<const char *>(from) + from_offset;
    to = static_cast<char *>(to) + to_offset;
    hipStream_t stream = static_cast<hipStream_t>(handle);
    bool is_from_gpu = source.device_type == kDLROCM, is_to_gpu = target.device_type == kDLROCM;
    choose(is_from_gpu ? source : target);
    if (is_from_gpu && is_to_gpu && source.device_id != target.device_id) {
      check(api().hipMemcpyPeerAsync(to, target.device_id, from, source.device_id, size, stream),
            "copying " + bytes(size) + " from GPU " + std::to_string(source.device_id) + " to GPU " +
                std::to_string(target.device_id));
      return;
    }
    hipMemcpyKind kind = !is_from_gpu ? hipMemcpyHostToDevice
                         : is_to_gpu  ? hipMemcpyDeviceToDevice
                                      : hipMemcpyDeviceToHost;
    // Without a stream the host's memory is the caller's again when this returns.
    check(stream ? api().hipMemcpyAsync(to, from, size, kind, stream) : api().hipMemcpy(to, from, size, kind),
          "copying " + bytes(size));
  }

 private:
  static void choose(Device device) {
    check(api().hipSetDevice(device.device_id), "choosing GPU " + std::to_string(device.device_id));
  }

  // Memory of a function's own, kept for the next: allocating would wait for all kernels. Each thread has its own.
  static tvm::runtime::WorkspacePool &workspace() {
    thread_local tvm::runtime::WorkspacePool pool(kDLROCM, device_api());
    return pool;
  }

  // Nothing for what is not asked of GPUs.
  static void answer_property(const hipDeviceProp_t &gpu, DeviceAttrKind kind, tvm::ffi::Any *answer) {
    switch (kind) {
      case tvm::runtime::kWarpSize:
        *answer = int64_t{gpu.warpSize};
        return;
      case tvm::runtime::kMaxSharedMemoryPerBlock:
        *answer = static_cast<int64_t>(gpu.sharedMemPerBlock);
        return;
      case tvm::runtime::kComputeVersion:
        *answer = tvm::ffi::String(std::to_string(gpu.major) + "." + std::to_string(gpu.minor));
        return;
      case tvm::runtime::kDeviceName:
        *answer = tvm::ffi::String(gpu.name);
        return;
      case tvm::runtime::kMultiProcessorCount:
        *answer = int64_t{gpu.multiProcessorCount};
        return;
      case tvm::runtime::kMaxRegistersPerBlock:
        *answer = int64_t{gpu.regsPerBlock};
        return;
      case tvm::runtime::kGcnArch:
        *answer = tvm::ffi::String(gpu.gcnArchName);
        return;
      case tvm::runtime::kL2CacheSizeBytes:
        *answer = int64_t{gpu.l2CacheSize};
        return;
      case tvm::runtime::kTotalGlobalMemory:
        *answer = static_cast<int64_t>(gpu.totalGlobalMem);
        return;
      default:
        *answer = nullptr;
    }
  }
};

}  // namespace

std::string problem(int device) {
  std::string reason;
  const Api *found = find_api(reason);
  if (!found) return reason;
  int count = 0;
  hipError_t result = found->hipGetDeviceCount(&count);
  if (result != hipSuccess) return std::string("HIP finds no GPU: ") + found->hipGetErrorString(result);
  if (device < count) return "";
  return "there are " + std::to_string(count) + " GPUs, and none of number " + std::to_string(device);
}

std::string architecture(int device) { return properties(device).gcnArchName; }

DeviceAPI *device_api() {
  static DeviceAPI *gpus = new Gpus;  // never destroyed: tensors may be freed while the process ends
  return gpus;
}

}  // namespace dsc::hip
