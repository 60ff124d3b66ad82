/* The command line of dsc-run. */
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace tool {

/* The request is wrong: the message says what, where, and what to do. */
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string folder;
  /* "NAME=FILE", or "FILE" where there is one tensor only */
  std::vector<std::string> inputs, outputs;
  int repeat = 0;  /* timed runs, after the first */
  int threads = 0; /* all cores */
  bool help = false;
};

extern const char USAGE[];

/* Throws UsageError. */
Options parse_options(int count, const char *const *words);

}  // namespace tool
