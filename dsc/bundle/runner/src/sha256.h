/* SHA-256 (FIPS 180-4). */
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace dsc {

using Digest = std::array<uint8_t, 32>;

Digest sha256(const uint8_t *data, size_t size);

/* In lower-case hexadecimal digits. */
std::string hexadecimal(const Digest &digest);

}  // namespace dsc
