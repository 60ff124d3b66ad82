#include "options.h"

#include <cerrno>
#include <cstdlib>

namespace tool {

const char USAGE[] =
    "usage: dsc-run DIR [--input [NAME=]FILE]... [--output [NAME=]FILE]... [--repeat N] [--threads N]\n"
    "\n"
    "Run the model of the bundle in DIR. Without --input, print what it takes and gives.\n"
    "  --input   .npy, or elements one after the other (.bin) where the model fixes all dims\n"
    "  --output  .npy, or elements one after the other (.bin)\n"
    "  --repeat  runs to time, after a first one; 0 by default\n"
    "  --threads cores that a run uses, 1 to 256; all by default\n"
    "Exit codes: 0, 1 internal error, 2 wrong request or damaged bundle, 3 too little memory.\n";

namespace {

int number(const std::string &option, const std::string &text, int least, int most) {
  char *end = nullptr;
  errno = 0;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < least || value > most) {
    throw UsageError(option + " " + text + ": expected a number from " + std::to_string(least) + " to " +
                     std::to_string(most));
  }
  return static_cast<int>(value);
}

}  // namespace

Options parse_options(int count, const char *const *words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    std::string word = words[i];
    if (word == "-h" || word == "--help") {
      options.help = true;
      continue;
    }
    if (word.compare(0, 2, "--") != 0) {
      if (!options.folder.empty()) throw UsageError("more than one folder: " + options.folder + " and " + word);
      options.folder = word;
      continue;
    }
    if (word != "--input" && word != "--output" && word != "--repeat" && word != "--threads") {
      throw UsageError("unknown option " + word + "; `dsc-run --help` lists them");
    }
    if (++i == count) throw UsageError(word + " needs a value");
    const std::string value = words[i];
    if (word == "--input") options.inputs.push_back(value);
    if (word == "--output") options.outputs.push_back(value);
    if (word == "--repeat") options.repeat = number(word, value, 0, 1000000000);
    if (word == "--threads") options.threads = number(word, value, 1, 256);
  }
  if (options.folder.empty() && !options.help)
    throw UsageError("say in which folder the bundle is; `dsc-run --help` says more");
  return options;
}

}  // namespace tool
