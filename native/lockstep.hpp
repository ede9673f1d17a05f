// Many membership questions at once. A sieve answers most of them; the binary searches of the others are put off until
// there are many, and advance together: none waits for another's memory, and no branch depends on a row's length.
#pragma once

#include <algorithm>
#include <cstdint>

#include "draw.hpp"

namespace negsieve {

constexpr std::int64_t kTile = 64;  // questions at once

// Questions of whether users have items, each with a number of its own. found(number, user) is called for those that
// do, in any order, and by `finish` at the latest.
template <class Found>
class Questions {
public:
    Questions(const SeenRows& seen, const Found& found) : seen_(seen), found_(found) {}

    // Whether user[j] has item[j], as number first + j, for kTile questions at most.
    void ask(const std::int64_t* user, const std::int32_t* item, std::int64_t first, std::int64_t many) {
        if (seen_.n_pairs == 0) return know(user, many);
        Sieve::Mark mark[kTile];
        if (seen_.sieve) ask_sieve(user, item, many, mark);
        const Sieve sieve = seen_.sieve;
        std::int64_t open = open_;
        for (std::int64_t j = 0; j < many; ++j) {
            user_[open] = user[j];
            item_[open] = item[j];
            number_[open] = first + j;
            open += !sieve || sieve.passes(mark[j]);
        }
        for (std::int64_t k = open_; k < open; ++k) __builtin_prefetch(seen_.offset + user_[k]);
        open_ = open;
        if (open_ >= kTile) finish();
    }

    void finish() {
        if (seen_.n_pairs > INT32_MAX)  // places beyond do not fit what searches advance
            one_by_one();
        else
            together();
        open_ = 0;
    }

private:
    // Nobody has anything, but users who are not there are refused all the same.
    void know(const std::int64_t* user, std::int64_t many) const {
        for (std::int64_t j = 0; j < many; ++j)
            if (j == 0 || user[j] != user[j - 1]) seen_.row(user[j]);
    }

    void ask_sieve(const std::int64_t* user, const std::int32_t* item, std::int64_t many, Sieve::Mark* mark) const {
        const SeenRows seen = seen_;
        Sieve::Part part = {};
        for (std::int64_t j = 0; j < many; ++j) {
            if (j == 0 || user[j] != user[j - 1]) part = seen.part(user[j]);
            mark[j] = Sieve::mark(part, item[j]);
            seen.sieve.ask(mark[j]);
        }
    }

    void together() {
        std::int32_t at[2 * kTile], left[2 * kTile], longest = 0;
        const std::int32_t *__restrict items = seen_.item, *__restrict wanted = item_;
        for (std::int64_t k = 0; k < open_; ++k) {
            const Row row = seen_.row(user_[k]);
            left[k] = static_cast<std::int32_t>(row.size());
            at[k] = static_cast<std::int32_t>(left[k] ? row.begin - items : 0);  // never behind the last item
            longest = std::max(longest, left[k]);
        }
        for (; longest > 1; longest -= longest / 2)
            for (std::int64_t k = 0; k < open_; ++k) {
                const std::int32_t half = left[k] >> 1;
                at[k] += half & -static_cast<std::int32_t>(items[at[k] + half] <= wanted[k]);
                left[k] -= half;
            }
        for (std::int64_t k = 0; k < open_; ++k)
            if (left[k] > 0 && items[at[k]] == wanted[k]) found_(number_[k], user_[k]);
    }

    void one_by_one() {
        for (std::int64_t k = 0; k < open_; ++k)
            if (member(seen_.row(user_[k]), item_[k])) found_(number_[k], user_[k]);
    }

    const SeenRows& seen_;
    const Found found_;
    std::int64_t open_ = 0;  // what passed and waits
    std::int64_t user_[2 * kTile], number_[2 * kTile];
    std::int32_t item_[2 * kTile];
};

// Asks of entries begin .. end of item[b, k], row by row and `width` a row, whether user[b] has them; an entry's number
// is its place.
template <class Found>
void ask_entries(const SeenRows& seen, const std::int64_t* user, const std::int64_t* item, std::int64_t width,
                 std::int64_t begin, std::int64_t end, const Found& found) {
    Questions questions(seen, found);
    std::int64_t asked[kTile], row = width ? begin / width : 0, k = width ? begin % width : 0;
    std::int32_t about[kTile];
    for (std::int64_t first = begin; first < end; first += kTile) {
        const std::int64_t many = std::min(kTile, end - first);
        for (std::int64_t j = 0; j < many; ++j, ++k) {
            if (k == width) {
                k = 0;
                ++row;
            }
            const std::int64_t one = item[first + j];
            asked[j] = user[row];
            about[j] = one < 0 || one > INT32_MAX ? -1 : static_cast<std::int32_t>(one);  // no item: nobody has -1
        }
        questions.ask(asked, about, first, many);
    }
    questions.finish();
}

}  // namespace negsieve
