// A few bits for each item of a user: most of what a user has not is known by one read, without a search.
//
// A user of n items has a power of two of bits, at least 8 n, in words of 64. An item stands for two bits of one word.
// About one in thirty of what the user has not seems to be there and is searched for; what the user has always does.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace negsieve {

struct Sieve {
    const std::int64_t* head = nullptr;  // [n_users]: 64 times the place of the user's first word, plus log2 of its bits
    const std::int64_t* word = nullptr;
    std::int64_t n_words = 0;

    // A user's words.
    struct Part {
        std::int64_t first;
        int log;  // of how many words there are
    };

    // Where an item of a user stands: all bits of the mask are set if the user has it.
    struct Mark {
        std::int64_t place;
        std::uint64_t mask;
    };

    explicit operator bool() const { return head != nullptr; }

    Part part(std::int64_t user) const {
        const std::int64_t first = head[user] >> 6, log = (head[user] & 63) - 6;
        if (first < 0 || log < 0 || log > 26 || first + (std::int64_t{1} << log) > n_words) refuse();
        return {first, static_cast<int>(log)};
    }

    static Mark mark(Part part, std::int32_t item) {
        const std::uint64_t mixed = static_cast<std::uint32_t>(item) * 0x9E3779B97F4A7C15u;
        const std::uint64_t place = ((mixed >> 32) << part.log) >> 32;
        return {part.first + static_cast<std::int64_t>(place), bit(mixed >> 14) | bit(mixed >> 20)};
    }

    // Asks for what is read of a user, or of a mark; any number will do for a user.
    [[gnu::always_inline]] void ask(std::int64_t user) const { __builtin_prefetch(head + user, 0, 2); }
    [[gnu::always_inline]] void ask(Mark mark) const { __builtin_prefetch(word + mark.place, 0, 2); }
    bool passes(Mark mark) const { return (static_cast<std::uint64_t>(word[mark.place]) & mark.mask) == mark.mask; }

private:
    static std::uint64_t bit(std::uint64_t number) { return std::uint64_t{1} << (number & 63); }

    [[noreturn, gnu::noinline, gnu::cold]] static void refuse() {
        throw std::out_of_range("the sieve of a user lies outside its words");
    }
};

}  // namespace negsieve
