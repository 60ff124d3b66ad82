#include "tensor_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "npy.h"
#include "options.h"

namespace tool {
namespace {

struct Close {
  void operator()(std::FILE *file) const { std::fclose(file); }
};
using Stream = std::unique_ptr<std::FILE, Close>;

std::string read_file(const std::string &path) {
  const Stream file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) throw UsageError("cannot read " + path + ": " + std::strerror(errno));
  std::string content;
  char piece[1 << 16];
  for (size_t count; (count = std::fread(piece, 1, sizeof piece, file.get())) != 0;) content.append(piece, count);
  if (std::ferror(file.get())) throw UsageError("cannot read " + path + ": " + std::strerror(errno));
  return content;
}

bool is_npy(const std::string &path) { return path.size() > 4 && path.compare(path.size() - 4, 4, ".npy") == 0; }

/* Whether elements that numpy calls `type` are an input's: types that numpy does not have are bytes of anything. */
bool is_of_type(const std::string &type, int32_t expected) {
  const std::string own = npy_type(expected);
  // the order of bytes says nothing of one byte, and is left out where numpy knows nothing of them
  const bool has_order = dsc_type_size(expected) > 1 && own[1] != 'V';
  if (has_order || type.empty()) return type == own;
  const bool is_ml_dtypes = expected == DSC_FLOAT8E5M2 && type.substr(1) == "f1";  // its own name for it
  return type.substr(1) == own.substr(1) || is_ml_dtypes;
}

std::vector<int64_t> fixed_dims(const std::string &path, const dsc_info &info) {
  std::vector<int64_t> dims(info.dims, info.dims + info.rank);
  if (std::find(dims.begin(), dims.end(), -1) != dims.end()) {
    throw UsageError(path + ": input " + info.name +
                     " has free dims, which plain elements do not tell: give a .npy file");
  }
  return dims;
}

}  // namespace

size_t byte_size(const dsc_tensor &tensor) {
  size_t size = dsc_type_size(tensor.type);
  for (int32_t axis = 0; axis < tensor.rank; ++axis) {
    if (__builtin_mul_overflow(size, static_cast<size_t>(tensor.dims[axis]), &size)) return SIZE_MAX;
  }
  return size;
}

OwnedTensor read_tensor(const std::string &path, const dsc_info &info) {
  const std::string content = read_file(path);
  NpyHeader header{npy_type(info.type), {}, 0};
  if (is_npy(path)) {
    header = parse_npy(content, path);
  } else {
    header.dims = fixed_dims(path, info);
  }
  if (!is_of_type(header.type, info.type)) {
    throw UsageError(path + " holds elements of type " + header.type + ", input " + info.name + " takes " +
                     dsc_type_name(info.type) + " (" + npy_type(info.type) + "); nothing is cast");
  }
  if (header.dims.size() > DSC_MAX_RANK)
    throw UsageError(path + " has more than " + std::to_string(DSC_MAX_RANK) + " dims");
  OwnedTensor owned{{}, {nullptr, info.type, static_cast<int32_t>(header.dims.size()), {}}};
  std::copy(header.dims.begin(), header.dims.end(), owned.tensor.dims);
  const size_t size = byte_size(owned.tensor), found = content.size() - header.size;
  if (size != found) {
    throw UsageError(path + " holds " + std::to_string(found) + " bytes of elements, its shape says " +
                     std::to_string(size));
  }
  owned.memory.resize(size / sizeof(uint64_t) + 1);
  if (size != 0) std::memcpy(owned.memory.data(), content.data() + header.size, size);
  owned.tensor.data = owned.memory.data();
  return owned;
}

void write_tensor(const std::string &path, const dsc_tensor &tensor) {
  const std::string aside = path + ".part";
  const auto refuse = [&] {
    const std::string reason = std::strerror(errno);
    std::remove(aside.c_str());
    throw UsageError("cannot write " + path + ": " + reason);
  };
  Stream file(std::fopen(aside.c_str(), "wb"));
  if (file == nullptr) throw UsageError("cannot write " + path + ": " + std::strerror(errno));
  const std::string header =
      is_npy(path) ? make_npy(npy_type(tensor.type), {tensor.dims, tensor.dims + tensor.rank}) : "";
  const size_t size = byte_size(tensor);
  if (std::fwrite(header.data(), 1, header.size(), file.get()) != header.size()) refuse();
  if (std::fwrite(tensor.data, 1, size, file.get()) != size) refuse();
  if (std::fclose(file.release()) != 0) refuse();
  if (std::rename(aside.c_str(), path.c_str()) != 0) refuse();
}

}  // namespace tool
