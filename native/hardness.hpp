// Which of two scored places is harder: the higher score; of equal scores the one that stands first.
//
// A score that is no number stands above all, as it does for torch, so that it is chosen, makes the loss no number, and
// is found.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>

namespace negsieve {

// Orders (score, place): greater is harder. Places are below 2^31.
inline std::int64_t hardness(float score, std::int64_t place) {
    std::int32_t bits;
    const float plain = score + 0.0f;  // -0 counts as 0
    std::memcpy(&bits, &plain, sizeof bits);
    const std::int32_t rank = plain != plain ? INT32_MAX : bits ^ ((bits >> 31) & INT32_MAX);
    return static_cast<std::int64_t>(rank) * (std::int64_t{1} << 32) + (INT32_MAX - place);
}

inline std::int64_t place_of(std::int64_t hardness) { return INT32_MAX - (hardness & INT32_MAX); }

// Moves the m hardest to the front, hardest first.
inline void hardest_first(std::int64_t* key, std::int64_t many, std::int64_t m) {
    if (m == 1) {
        std::swap(key[0], *std::max_element(key, key + many));
    } else if (8 * m <= many) {  // a heap of few is the quicker, by measurement
        std::partial_sort(key, key + m, key + many, std::greater<>());
    } else {
        if (m < many) std::nth_element(key, key + m, key + many, std::greater<>());
        std::sort(key, key + m, std::greater<>());
    }
}

}  // namespace negsieve
