// Who has seen what, as sorted rows of int32 items, and exact draws of what a user has not seen.
//
// A draw is tried at most kAttempts times and refused if the user has seen it; then a unit of the unseen weight is
// drawn and looked up. Each way alone follows the weights of the unseen items, so their mixture does, and no row can
// loop for long. Draw k reads the words k, k + 2^32, k + 2 * 2^32, ..: a sample may have 2^32 draws.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "counter.hpp"
#include "sieve.hpp"

namespace negsieve {

constexpr int kAttempts = 8;

inline std::uint64_t retry(std::uint64_t draw, int attempt) {
    return draw + (static_cast<std::uint64_t>(attempt) << 32);
}

// A user's items, ascending and distinct, each of 0 .. n_items - 1.
struct Row {
    const std::int32_t* begin;
    const std::int32_t* end;

    std::int64_t size() const { return end - begin; }
};

// All users' rows, one behind the other: those of Seen. `row` raises IndexError for a user who is not there.
struct SeenRows {
    const std::int64_t* offset;  // [n_users + 1]
    const std::int32_t* item;    // [n_pairs]
    std::int64_t n_users, n_pairs;
    Sieve sieve;  // of the same rows, or none

    Row row(std::int64_t user) const {
        if (user < 0 || user >= n_users) refuse(user);
        const std::int64_t first = offset[user], last = offset[user + 1];
        if (first < 0 || last < first || last > n_pairs) refuse(user);
        return {item + first, item + last};
    }

    // A user's words of the sieve.
    Sieve::Part part(std::int64_t user) const {
        if (user < 0 || user >= n_users) refuse(user);
        return sieve.part(user);
    }

private:
    // Apart from `row`, which is called for every draw and must stay small enough to be inlined.
    [[noreturn, gnu::noinline, gnu::cold]] void refuse(std::int64_t user) const {
        if (user < 0 || user >= n_users)
            throw std::out_of_range("user " + std::to_string(user) + ", wanted 0.." + std::to_string(n_users - 1));
        throw std::out_of_range("the row of user " + std::to_string(user) + " lies outside the items");
    }
};

// Whether the item stands in the row: halves a long row, and compares what is left in vectors, the last of which
// overlaps the one before, so that nothing behind the row is read.
inline bool member(Row row, std::int32_t item) {
    constexpr std::int64_t kLinear = 64, kLanes = 8;
    const std::int32_t* first = row.begin;
    std::int64_t left = row.size();
    while (left > kLinear) {
        const std::int64_t half = left / 2;
        first = first[half] <= item ? first + half : first;
        left -= half;
    }
    int found = 0;
    if (left < kLanes) {
        for (std::int64_t i = 0; i < left; ++i) found |= first[i] == item;
        return found != 0;
    }
    int lane[kLanes] = {};
    for (std::int64_t i = 0; i + kLanes <= left; i += kLanes)
        for (int j = 0; j < kLanes; ++j) lane[j] |= first[i + j] == item;
    for (int j = 0; j < kLanes; ++j) lane[j] |= first[left - kLanes + j] == item;
    for (int j = 0; j < kLanes; ++j) found |= lane[j];
    return found != 0;
}

// All items alike: what `propose` gives is even over them, what `settle` gives over those that are not in the row.
struct EvenLaw {
    std::int64_t n_items;

    std::int32_t propose(std::uint64_t bits) const { return static_cast<std::int32_t>(below(bits, n_items)); }

    // The r-th unseen item is r + #{k: row[k] - k <= r}. A row that holds everything gets item 0.
    std::int32_t settle(std::uint64_t bits, Row row) const {
        const std::int64_t free = n_items - row.size();
        if (free <= 0) return 0;
        const std::int64_t r = below(bits, free);
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
};

// Items by whole-number weights: an alias table to propose from, and the line of all items laid end to end.
struct WeightedLaw {
    const std::int64_t* table;   // [n_items, 2]: below which of 2^63 a bucket gives its own item; the other item
    const std::int64_t* edge;    // [n_items]: the weight of an item and all before it
    const std::int64_t* held;    // [n_pairs + 1]: the weight of all pairs before each
    const std::int32_t* origin;  // where the rows' items begin
    std::int64_t n_items;

    // The upper half of bits * n_items is the bucket, the lower half the place in it.
    std::int32_t propose(std::uint64_t bits) const {
        const unsigned __int128 product = static_cast<unsigned __int128>(bits) * static_cast<std::uint64_t>(n_items);
        const auto bucket = static_cast<std::int64_t>(product >> 64);
        const auto place = static_cast<std::int64_t>(static_cast<std::uint64_t>(product) >> 1);
        return static_cast<std::int32_t>(place < table[2 * bucket] ? bucket : table[2 * bucket + 1]);
    }

    // Unit r of the unseen weight lies behind the seen items with less than r unseen weight before them. A row that
    // holds all weight gets item 0.
    std::int32_t settle(std::uint64_t bits, Row row) const {
        const std::int64_t* own = held + (row.begin - origin);
        const std::int64_t free = edge[n_items - 1] - (own[row.size()] - own[0]);
        if (free <= 0) return 0;
        const std::int64_t r = below(bits, free);
        std::int64_t low = 0, high = row.size();
        while (low < high) {
            const std::int64_t mid = low + (high - low) / 2;
            const std::int32_t item = row.begin[mid];
            if (item < 0 || item >= n_items)
                throw std::out_of_range("item " + std::to_string(item) + " was seen, wanted 0.." +
                                        std::to_string(n_items - 1));
            const std::int64_t before = item == 0 ? 0 : edge[item - 1];
            if (before - (own[mid] - own[0]) <= r)
                low = mid + 1;
            else
                high = mid;
        }
        const std::int64_t unit = r + (own[low] - own[0]);
        return static_cast<std::int32_t>(std::min<std::int64_t>(std::upper_bound(edge, edge + n_items, unit) - edge,
                                                                n_items - 1));
    }
};

// Draw number `draw` of the stream `start` (see counter.hpp) under a law: of the items that are not in the row.
// `attempt`: how many attempts are known to have failed.
template <class Law>
std::int32_t draw_unseen(const Law& law, std::uint64_t start, std::uint64_t draw, Row row, int attempt = 0) {
    for (; attempt < kAttempts; ++attempt) {
        const std::int32_t item = law.propose(word(start, retry(draw, attempt)));
        if (!member(row, item)) return item;
    }
    return law.settle(word(start, retry(draw, kAttempts)), row);
}

}  // namespace negsieve
