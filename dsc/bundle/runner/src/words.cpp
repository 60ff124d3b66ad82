#include "words.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "failure.h"

namespace dsc {
namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

Words::Words(const std::string &line, const std::string &place) : place_(place) {
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find(' ', begin), line.size());
    words_.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
}

bool Words::text_follows() const { return more() && !words_[next_].empty() && words_[next_][0] == '='; }

std::string Words::word() {
  if (!more()) malformed("ends too early");
  return words_[next_++];
}

std::string Words::text() {
  if (!text_follows()) malformed("has no text where one is expected");
  const std::string escaped = word();
  std::string plain;
  for (size_t i = 1; i < escaped.size(); ++i) {
    if (escaped[i] != '%') {
      plain += escaped[i];
      continue;
    }
    const int high = i + 1 < escaped.size() ? digit(escaped[i + 1]) : -1;
    const int low = i + 2 < escaped.size() ? digit(escaped[i + 2]) : -1;
    if (high < 0 || low < 0) malformed("has a text that is not well formed");
    plain += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return plain;
}

int64_t Words::number(int64_t least, int64_t most) {
  const std::string digits = word();
  char *end = nullptr;
  errno = 0;
  const long long value = std::strtoll(digits.c_str(), &end, 10);
  const bool is_number = !digits.empty() && *end == '\0' && errno == 0 && digits[0] != ' ' && digits[0] != '+';
  if (!is_number || value < least || value > most) malformed("has '" + digits.substr(0, 40) + "' for a number");
  return value;
}

void Words::end() const {
  if (more()) malformed("has more words than expected");
}

void Words::malformed(const std::string &reason) const { throw Failure(DSC_ERROR_DAMAGED, place_ + " " + reason); }

}  // namespace dsc
