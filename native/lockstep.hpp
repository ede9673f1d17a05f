// Many membership questions at once. A sieve answers most of them; the binary searches of the others advance together,
// so no search waits for another's memory and no branch depends on a row's length.
#pragma once

#include <algorithm>
#include <cstdint>

#include "draw.hpp"

namespace negsieve {

constexpr std::int64_t kTile = 64;  // questions at once

// Up to kTile questions of whether a user has an item.
class Questions {
public:
    explicit Questions(const SeenRows& seen) : seen_(seen), wide_(seen.n_pairs > INT32_MAX) {}

    // Whose items the next questions are about.
    void turn_to(std::int64_t user) {
        asked_ = user;
        if (seen_.sieve) part_ = seen_.part(user);
    }

    void ask(std::int64_t place, std::int32_t item) {
        user_[place] = asked_;
        item_[place] = item;
        if (!seen_.sieve) return;
        mark_[place] = Sieve::mark(part_, item);
        seen_.sieve.ask(mark_[place]);
    }

    bool found(std::int64_t place) const { return found_[place] != 0; }

    // Answers the first `many` questions; whether any answer is yes.
    bool answer(std::int64_t many) {
        std::fill_n(found_, many, 0);
        if (seen_.n_pairs == 0) return false;
        std::int64_t open = 0;
        for (std::int64_t j = 0; j < many; ++j) {
            place_[open] = static_cast<std::int32_t>(j);
            open += !seen_.sieve || seen_.sieve.passes(mark_[j]);
        }
        return wide_ ? one_by_one(open) : together(open);
    }

private:
    bool together(std::int64_t many) {
        std::int32_t longest = 0, any = 0;
        for (std::int64_t k = 0; k < many; ++k) {
            const Row row = seen_.row(user_[place_[k]]);
            const auto size = static_cast<std::int32_t>(row.size());
            at_[k] = static_cast<std::int32_t>(size ? row.begin - seen_.item : 0);  // never behind the last item
            left_[k] = size;
            wanted_[k] = item_[place_[k]];
            longest = std::max(longest, size);
        }
        const std::int32_t *__restrict items = seen_.item, *__restrict wanted = wanted_;
        std::int32_t *__restrict at = at_, *__restrict left = left_;
        for (; longest > 1; longest -= longest / 2)
            for (std::int64_t k = 0; k < many; ++k) {
                const std::int32_t half = left[k] >> 1;
                at[k] += half & -static_cast<std::int32_t>(items[at[k] + half] <= wanted[k]);
                left[k] -= half;
            }
        for (std::int64_t k = 0; k < many; ++k) {
            const std::int32_t found = (left[k] > 0) & (items[at[k]] == wanted[k]);
            found_[place_[k]] = found;
            any |= found;
        }
        return any != 0;
    }

    // Places beyond 2^31 do not fit what `together` advances.
    bool one_by_one(std::int64_t many) {
        bool any = false;
        for (std::int64_t k = 0; k < many; ++k) {
            const std::int32_t j = place_[k];
            found_[j] = member(seen_.row(user_[j]), item_[j]);
            any |= found_[j] != 0;
        }
        return any;
    }

    const SeenRows& seen_;
    const bool wide_;
    std::int64_t asked_ = 0;
    Sieve::Part part_ = {};
    std::int64_t user_[kTile];
    Sieve::Mark mark_[kTile];
    std::int32_t item_[kTile], found_[kTile];
    std::int32_t place_[kTile], at_[kTile], left_[kTile], wanted_[kTile];  // of the searches
};

}  // namespace negsieve
