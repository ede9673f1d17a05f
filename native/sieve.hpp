// A few bits for each item of a user: most of what a user has not is known by one of them, without a search.
//
// A user of n items has a power of two of bits, at least 8 n, and an item stands for one of them. So one in eight to
// sixteen of what the user has not seems to be there and is searched for; what the user has always does.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace negsieve {

struct Sieve {
    const std::int64_t* head = nullptr;  // [n_users]: 64 times where the user's words begin, plus log2 of the user's bits
    const std::int64_t* word = nullptr;
    std::int64_t n_words = 0;

    explicit operator bool() const { return head != nullptr; }

    // The place of a user's item among all bits.
    std::int64_t bit(std::int64_t user, std::int32_t item) const {
        const std::int64_t first = head[user] & ~std::int64_t{63}, log = head[user] & 63;
        if (first < 0 || log < 6 || log > 32 || (first + (std::int64_t{1} << log)) >> 6 > n_words) refuse();
        const std::uint64_t mixed = static_cast<std::uint32_t>(item) * 2654435769u;
        return first + static_cast<std::int64_t>((mixed << log) >> 32);
    }

    [[gnu::always_inline]] void ask(std::int64_t bit) const { __builtin_prefetch(word + (bit >> 6)); }
    bool passes(std::int64_t bit) const { return (static_cast<std::uint64_t>(word[bit >> 6]) >> (bit & 63)) & 1; }

private:
    [[noreturn, gnu::noinline, gnu::cold]] static void refuse() {
        throw std::out_of_range("the sieve of a user lies outside its words");
    }
};

}  // namespace negsieve
