/* Lines of a description, as words. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsc {

/* One line, whose words are taken from left to right. What is not as expected throws Failure (DSC_ERROR_DAMAGED). */
class Words {
 public:
  /* `place` is said in errors: "bundle.txt, line 3". */
  Words(const std::string &line, const std::string &place);

  bool more() const { return next_ < words_.size(); }
  /* Whether the next word is a text. */
  bool text_follows() const;
  std::string word();
  std::string text();
  int64_t number(int64_t least, int64_t most);
  /* That nothing is left. */
  void end() const;
  [[noreturn]] void malformed(const std::string &reason) const;

 private:
  std::vector<std::string> words_;
  size_t next_ = 0;
  std::string place_;
};

}  // namespace dsc
