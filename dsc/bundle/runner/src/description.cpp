#include "description.h"

#include <algorithm>

#include "dsc.h"
#include "failure.h"
#include "sha256.h"
#include "words.h"

namespace dsc {
namespace {

constexpr char FIRST_LINE[] = "dsc bundle 3";
constexpr char LAST_WORD[] = "sha256 ";
constexpr size_t HASH_DIGITS = 64;
constexpr size_t LAST_LINE = sizeof LAST_WORD - 1 + HASH_DIGITS + 1;
constexpr int64_t MOST = INT64_MAX;

/* The lines before the last one, once the last one is known to be their hash. */
std::string checked(const Mapping &text, const std::string &path) {
  const std::string all(reinterpret_cast<const char *>(text.data()), text.size());
  const std::string first = all.substr(0, all.find('\n'));
  if (first != FIRST_LINE) {
    const bool other = first.compare(0, sizeof "dsc bundle" - 1, "dsc bundle") == 0;
    throw Failure(DSC_ERROR_DAMAGED,
                  other ? path + " is of format '" + first + "', this library reads '" + FIRST_LINE +
                              "': build the runner from the sources beside it"
                        : path + " is not the description of a bundle; make the bundle again with `dsc bundle`");
  }
  const size_t body = all.size() < LAST_LINE ? 0 : all.size() - LAST_LINE;
  const std::string expected = LAST_WORD + hexadecimal(sha256(text.data(), body)) + "\n";
  if (all.compare(body, std::string::npos, expected) != 0) {
    throw Failure(DSC_ERROR_DAMAGED,
                  path + " was changed after it was written (its hash differs); copy the bundle again");
  }
  return all.substr(0, body);
}

const ElementType *type_of(Words &words) {
  const ElementType *type = element_type(words.word());
  if (type == nullptr) words.malformed("names a type that is none");
  return type;
}

/* Numbers; of free dims their names, or -1 where they have none. */
TensorSpec spec_of(Words &words) {
  TensorSpec spec{words.text(), type_of(words), {}};
  while (words.more()) {
    if (words.text_follows()) {
      spec.dims.push_back({-1, words.text()});
    } else {
      const int64_t size = words.number(-1, MOST);
      spec.dims.push_back({size, ""});
    }
  }
  if (spec.dims.size() > DSC_MAX_RANK) words.malformed("has too many dims");
  return spec;
}

Parameter parameter_of(Words &words) {
  Parameter parameter{static_cast<size_t>(words.number(0, MOST)), type_of(words), {}};
  while (words.more()) parameter.dims.push_back(words.number(0, MOST));
  return parameter;
}

std::vector<Place> places_of(Words &words, const std::vector<TensorSpec> &inputs) {
  std::vector<Place> places;
  while (words.more()) {
    const size_t input = static_cast<size_t>(words.number(0, MOST)), axis = static_cast<size_t>(words.number(0, MOST));
    if (input >= inputs.size() || (axis != 0 && axis >= inputs[input].dims.size())) {
      words.malformed("names a dim that no input has");
    }
    places.push_back({input, axis});
  }
  return places;
}

void read_line(Words &words, Description &into) {
  const std::string kind = words.word();
  if (kind == "model") {
    into.model = words.text();
  } else if (kind == "target") {
    into.target = words.text();
  } else if (kind == "arch") {
    into.arch = words.text();
  } else if (kind == "runtime") {
    into.runtime = words.text();
  } else if (kind == "feature") {
    into.features.push_back(words.text());
  } else if (kind == "gpu") {
    into.gpu.device = words.text();
    into.gpu.arch = words.text();
  } else if (kind == "captured") {
    into.is_captured = true;
  } else if (kind == "file") {
    std::string name = words.text();
    const size_t size = static_cast<size_t>(words.number(0, MOST));
    into.files.push_back({std::move(name), size, words.word()});
  } else if (kind == "input") {
    into.inputs.push_back(spec_of(words));
  } else if (kind == "output") {
    into.outputs.push_back(spec_of(words));
  } else if (kind == "parameter") {
    into.parameters.push_back(parameter_of(words));
  } else if (kind == "symbols") {
    into.symbols = places_of(words, into.inputs);
  } else if (kind == "sizes" || kind == "indices") {
    std::string text = words.text();
    auto &checks = kind == "sizes" ? into.size_checks : into.index_checks;
    checks.push_back({std::move(text), places_of(words, into.inputs)});
  } else {
    words.malformed("says '" + kind.substr(0, 40) + "', which is unknown");
  }
  words.end();
}

}  // namespace

std::string TensorSpec::text() const {
  std::string dims_text;
  for (const Dim &dim : dims) {
    if (!dims_text.empty()) dims_text += ", ";
    dims_text += dim.size >= 0 ? std::to_string(dim.size) : dim.name.empty() ? "?" : dim.name;
  }
  return name + ": " + type->name + "[" + dims_text + "]";
}

bool Description::has_free_dims() const {
  for (const TensorSpec &input : inputs) {
    for (const Dim &dim : input.dims) {
      if (dim.size < 0) return true;
    }
  }
  return false;
}

const File &Description::file(const std::string &name) const {
  for (const File &file : files) {
    if (file.name == name) return file;
  }
  throw Failure(DSC_ERROR_DAMAGED, "the description of the bundle does not list " + name);
}

Description read_description(const Mapping &text, const std::string &path) {
  const std::string lines = checked(text, path);
  Description description;
  size_t begin = lines.find('\n') + 1;
  for (int number = 2; begin < lines.size(); ++number) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    Words words(lines.substr(begin, end - begin), path + ", line " + std::to_string(number) + ",");
    read_line(words, description);
    begin = end + 1;
  }
  return description;
}

}  // namespace dsc
