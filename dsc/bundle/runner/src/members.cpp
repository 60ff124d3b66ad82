#include "members.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#include "failure.h"
#include "sha256.h"

namespace dsc {
namespace {

constexpr size_t BLOCK = 4 << 20; /* bytes; as in `dsc.runtime.hashing` */

/* SHA-256 of the SHA-256s of the blocks, which threads share. */
std::string hash_by_blocks(const uint8_t *data, size_t size, int threads) {
  const size_t blocks = (size + BLOCK - 1) / BLOCK;
  std::vector<Digest> digests(blocks);
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t block; (block = next++) < blocks;) {
      const size_t begin = block * BLOCK;
      digests[block] = sha256(data + begin, std::min(BLOCK, size - begin));
    }
  };
  std::vector<std::thread> helpers;
  const size_t wanted = std::min(static_cast<size_t>(threads), blocks);
  helpers.reserve(wanted);
  try {
    while (helpers.size() + 1 < wanted) helpers.emplace_back(work);
  } catch (const std::system_error &) {  // the system gives no more threads: those there are do all
  }
  work();
  for (std::thread &helper : helpers) helper.join();
  return hexadecimal(sha256(blocks == 0 ? nullptr : digests[0].data(), blocks * sizeof(Digest)));
}

}  // namespace

void check_file(const Mapping &content, const File &expected, const std::string &path, int threads) {
  if (content.size() != expected.size) {
    throw Failure(DSC_ERROR_DAMAGED, path + " has " + std::to_string(content.size()) +
                                         " bytes, the bundle was made with " + std::to_string(expected.size) +
                                         "; copy the bundle again");
  }
  if (hash_by_blocks(content.data(), content.size(), threads) != expected.hash) {
    throw Failure(DSC_ERROR_DAMAGED,
                  path + " was changed after it was written (its hash differs); copy the bundle again");
  }
}

}  // namespace dsc
