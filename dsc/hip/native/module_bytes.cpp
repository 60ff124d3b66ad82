#include "module_bytes.h"

#include <cstring>
#include <map>
#include <stdexcept>

namespace dsc::hip {

namespace {

constexpr const char *kFormat = "hsaco";
constexpr size_t kElfHeader = 64;  // bytes, that HIP reads without asking how many there are

const std::map<std::string, LaunchNumber> &launch_numbers() {
  static const std::map<std::string, LaunchNumber> names = {
      {"blockIdx.x", LaunchNumber::kGridX},
      {"blockIdx.y", LaunchNumber::kGridY},
      {"blockIdx.z", LaunchNumber::kGridZ},
      {"threadIdx.x", LaunchNumber::kBlockX},
      {"threadIdx.y", LaunchNumber::kBlockY},
      {"threadIdx.z", LaunchNumber::kBlockZ},
      {"tirx.use_dyn_shared_memory", LaunchNumber::kDynamicShared},
  };
  return names;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof(value)).data(), sizeof(value));
    return value;
  }

  std::string string() { return std::string(take(number<uint64_t>())); }

  // The length of a list, of which every item takes a byte or more.
  uint64_t length() {
    auto count = number<uint64_t>();
    if (count > left_.size()) throw std::invalid_argument("a list is longer than what is left");
    return count;
  }

  bool is_done() const { return left_.empty(); }

 private:
  std::string_view take(uint64_t count) {
    if (count > left_.size()) throw std::invalid_argument("it ends too early");
    std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  std::string_view left_;
};

Signature read_signature(Reader &reader) {
  Signature signature;
  if (signature.kernel = reader.string(); signature.kernel != reader.string())
    throw std::invalid_argument("a kernel has two names");
  for (uint64_t left = reader.length(); left; --left) {
    DLDataType type;
    type.code = reader.number<uint8_t>();
    type.bits = reader.number<uint8_t>();
    type.lanes = reader.number<uint16_t>();
    signature.arguments.push_back(type);
  }
  for (uint64_t left = reader.length(); left; --left) {
    std::string name = reader.string();
    auto found = launch_numbers().find(name);
    if (found == launch_numbers().end()) throw std::invalid_argument("launches with " + name + " are not known here");
    signature.launch.push_back(found->second);
  }
  for (uint64_t left = reader.length(); left; --left)
    if (reader.number<int32_t>() != 0) throw std::invalid_argument("tensor maps are not known here");
  return signature;
}

}  // namespace

ModuleBytes parse(std::string_view bytes) {
  Reader reader(bytes);
  if (std::string format = reader.string(); format != kFormat)
    throw std::invalid_argument("its code is " + format + ", expected " + kFormat);
  ModuleBytes found;
  for (uint64_t left = reader.length(); left; --left) found.kernels.push_back(read_signature(reader));
  found.code = reader.string();
  if (found.code.size() < kElfHeader) throw std::invalid_argument("its code is cut short");
  if (!reader.is_done()) throw std::invalid_argument("there is more after its end");
  return found;
}

}  // namespace dsc::hip
