// Who has seen what, as sorted rows of int32 items, and exact draws of what a user has not seen.
//
// A draw is tried at most kAttempts times and refused if the user has seen it; then the r-th unseen item is
// looked up. Each way alone is even over the unseen items, so their mixture is, and no row can loop for long.
// The words of draw k are k, k + 2^32, k + 2 * 2^32, ..: a row may have 2^32 draws.
#pragma once

#include <cstdint>

#include "counter.hpp"

namespace negsieve {

constexpr int kAttempts = 8;
constexpr std::int64_t kLinear = 32;  // items that are compared one and all: searching fewer saves nothing

// A user's items, ascending and distinct, each of 0 .. n_items - 1.
struct Row {
    const std::int32_t* begin;
    const std::int32_t* end;

    std::int64_t size() const { return end - begin; }
};

// Brings what `member` reads first closer; call it some rows ahead.
inline void prefetch(Row row) { __builtin_prefetch(row.begin); }

// Whether the item stands in the row: halves it until few are left, and compares those.
inline bool member(Row row, std::int32_t item) {
    const std::int32_t* first = row.begin;
    std::int64_t left = row.size();
    while (left > kLinear) {
        const std::int64_t half = left / 2;
        first = first[half] <= item ? first + half : first;
        left -= half;
    }
    int found = 0;
    for (std::int64_t i = 0; i < left; ++i) found |= first[i] == item;
    return found != 0;
}

// The r-th item (from 0) that is not in the row, r below n_items less the row's size: r + #{k: row[k] - k <= r}.
inline std::int32_t nth_unseen(Row row, std::int64_t r) {
    std::int64_t low = 0, high = row.size();
    while (low < high) {
        const std::int64_t mid = low + (high - low) / 2;
        if (row.begin[mid] - mid <= r)
            low = mid + 1;
        else
            high = mid;
    }
    return static_cast<std::int32_t>(r + low);
}

// Draw number `draw` of the stream `start` (see counter.hpp): even over the items that are not in the row.
// A row that holds everything gets item 0, which the caller masks.
inline std::int32_t draw_unseen(std::uint64_t start, std::uint64_t draw, Row row, std::int64_t n_items) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const auto item = static_cast<std::int32_t>(
            below(word(start, draw + (static_cast<std::uint64_t>(attempt) << 32)), n_items));
        if (!member(row, item)) return item;
    }
    const std::int64_t free = n_items - row.size();
    if (free <= 0) return 0;
    return nth_unseen(row, below(word(start, draw + (static_cast<std::uint64_t>(kAttempts) << 32)), free));
}

}  // namespace negsieve
