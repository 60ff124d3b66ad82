#include "npy.h"

#include <cerrno>
#include <cstdlib>

#include "dsc.h"
#include "options.h"

namespace tool {
namespace {

constexpr char MAGIC[] = "\x93NUMPY";
constexpr size_t MAGIC_SIZE = 6, ALIGNMENT = 64;

[[noreturn]] void refuse(const std::string &path, const char *reason) {
  throw UsageError(path + " cannot be read as a numpy array: " + reason);
}

/* What follows `'key':` in the header, a Python dictionary. */
std::string value_of(const std::string &header, const std::string &key, const std::string &path) {
  const size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) refuse(path, "its header is not numpy's");
  const size_t begin = header.find_first_not_of(' ', at + key.size() + 3);
  return begin == std::string::npos ? "" : header.substr(begin);
}

std::vector<int64_t> parse_dims(const std::string &text, const std::string &path) {
  std::vector<int64_t> dims;
  if (text.empty() || text[0] != '(') refuse(path, "its header has no shape");
  const char *next = text.c_str() + 1;
  for (;;) {
    while (*next == ' ' || *next == ',') ++next;
    if (*next == ')') return dims;
    char *end = nullptr;
    errno = 0;
    const long long dim = std::strtoll(next, &end, 10);
    if (end == next || errno != 0 || dim < 0) refuse(path, "its header has no shape");
    dims.push_back(dim);
    next = end;
  }
}

std::string parse_type(const std::string &text, const std::string &path) {
  const size_t end = text.find('\'', 1);
  if (text.empty() || text[0] != '\'' || end == std::string::npos) refuse(path, "its elements are no numbers");
  return text.substr(1, end - 1);
}

}  // namespace

NpyHeader parse_npy(const std::string &content, const std::string &path) {
  if (content.size() < MAGIC_SIZE + 4 || content.compare(0, MAGIC_SIZE, MAGIC) != 0)
    refuse(path, "it does not begin as one");
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(content[at])); };
  const size_t version = byte(MAGIC_SIZE), length_bytes = version == 1 ? 2 : 4, begin = MAGIC_SIZE + 2 + length_bytes;
  if (version < 1 || version > 3 || content.size() < begin) refuse(path, "it is of an unknown version, or cut short");
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length |= byte(MAGIC_SIZE + 2 + i) << (8 * i);
  if (length > content.size() - begin) refuse(path, "its header is cut short");
  const std::string header = content.substr(begin, length);
  NpyHeader found{parse_type(value_of(header, "descr", path), path), parse_dims(value_of(header, "shape", path), path),
                  begin + length};
  const bool is_fortran = value_of(header, "fortran_order", path).compare(0, 4, "True") == 0;
  if (is_fortran && found.dims.size() > 1)
    refuse(path, "its elements are in the order of Fortran; save numpy.ascontiguousarray of it");
  return found;
}

std::string make_npy(const std::string &type, const std::vector<int64_t> &dims) {
  std::string shape;
  for (int64_t dim : dims) shape += std::to_string(dim) + (dims.size() == 1 ? "," : ", ");
  if (dims.size() > 1) shape.resize(shape.size() - 2);
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  const size_t prefix = MAGIC_SIZE + 4;
  header.append(ALIGNMENT - 1 - (prefix + header.size()) % ALIGNMENT, ' ');
  header += '\n';
  std::string file = MAGIC;
  file += {1, 0, static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  return file + header;
}

std::string npy_type(int32_t type) {
  switch (type) {
    case DSC_FLOAT32:
      return "<f4";
    case DSC_FLOAT64:
      return "<f8";
    case DSC_FLOAT16:
      return "<f2";
    case DSC_INT8:
      return "|i1";
    case DSC_INT16:
      return "<i2";
    case DSC_INT32:
      return "<i4";
    case DSC_INT64:
      return "<i8";
    case DSC_UINT8:
      return "|u1";
    case DSC_UINT16:
      return "<u2";
    case DSC_UINT32:
      return "<u4";
    case DSC_UINT64:
      return "<u8";
    case DSC_BOOL:
      return "|b1";
    default:
      return "|V" + std::to_string(dsc_type_size(type));
  }
}

}  // namespace tool
