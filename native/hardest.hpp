// The hardest of some unseen items drawn for a row: draw, refuse, rate and choose in one go, storing no candidates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "counter.hpp"
#include "dot.hpp"
#include "draw.hpp"
#include "hardness.hpp"
#include "lockstep.hpp"

namespace negsieve {

// The least and the greatest of eight or more scores, -inf not counted, and whether all are numbers.
struct Range {
    float least, most;
    bool numbers;

    Range(const float* score, std::int64_t many) {
        const float infinity = std::numeric_limits<float>::infinity();
        Eight low = infinity - Eight{}, high = -low;
        auto same = low == low;
        for (std::int64_t first = 0; first < many; first += 8) {
            const Eight one = *reinterpret_cast<const AnyEight*>(score + std::min(first, many - 8));
            low = (one < low) & (one > -infinity) ? one : low;
            high = one > high ? one : high;
            same &= one == one;
        }
        least = low[0], most = high[0], numbers = same[0];
        for (int l = 1; l < 8; ++l) {
            least = std::min(least, low[l]);
            most = std::max(most, high[l]);
            numbers &= same[l] != 0;
        }
    }
};

// The hardest of many scores by a count of how many fall into each of even parts of their range.
class Bins {
public:
    // Writes the keys of the m hardest first, hardest first; false where even parts hardly tell the scores apart.
    bool sort(const float* __restrict score, const std::int32_t* __restrict place, std::int64_t many, std::int64_t m,
              std::int64_t* __restrict key) {
        const Range range(score, many);
        const float most = range.most, scale = (kBins - 1) / (most - range.least);
        if (!range.numbers || !(scale > 0.0f) || !(scale <= std::numeric_limits<float>::max())) return false;
        bin_.resize(static_cast<std::size_t>(many));
        std::int32_t* __restrict bin = bin_.data();
        for (std::int64_t k = 0; k < many; ++k) bin[k] = static_cast<std::int32_t>(std::min((most - score[k]) * scale, kBins - 1.0f));
        std::int32_t size[kBins] = {}, first[kBins], end[kBins], found = 0;
        for (std::int64_t k = 0; k < many; ++k) ++size[bin[k]];
        int bins = 0;  // that hold the m hardest
        for (; found < m; found += size[bins++]) first[bins] = end[bins] = found;
        if (found > 2 * m + kSpare) return false;
        for (std::int64_t k = 0; k < many; ++k)
            if (bin[k] < bins) key[end[bin[k]]++] = hardness(score[k], place[k]);
        for (int one = 0; one < bins; ++one) arrange(key + first[one], key + end[one]);
        return true;
    }

private:
    static constexpr int kBins = 512;
    static constexpr std::int64_t kSpare = 64;  // keys that are cheaper to sort in vain than to tell apart
    static constexpr std::int64_t kFew = 16;

    static void arrange(std::int64_t* begin, std::int64_t* end) {
        if (end - begin > kFew) return std::sort(begin, end, std::greater<>());
        for (std::int64_t* at = begin + 1; at < end; ++at) {
            const std::int64_t one = *at;
            std::int64_t* to = at;
            for (; to > begin && to[-1] < one; --to) *to = to[-1];
            *to = one;
        }
    }

    std::vector<std::int32_t> bin_;
};

// key[0 .. m) = the hardest of some scores and their places, hardest first.
inline void hardest_first(const float* score, const std::int32_t* place, std::int64_t many, std::int64_t m,
                          std::vector<std::int64_t>& key, Bins& bins) {
    constexpr std::int64_t kWorth = 64;  // scores from which bins are the quicker
    if (m > 1 && many >= kWorth && bins.sort(score, place, many, m, key.data())) return;
    for (std::int64_t k = 0; k < many; ++k) key[k] = hardness(score[k], place[k]);
    hardest_first(key.data(), many, m);
}

// Vectors that rate: query [B, D], table [I, D].
struct Vectors {
    const float* query;
    const float* table;
    std::int64_t width;
    bool cosine;
};

constexpr std::int64_t kTogether = 512;  // candidates that are drawn before they are rated
constexpr std::int64_t kAhead = 24;      // candidates between asking for a vector and reading it

// Rows to draw for, the same number of draws each.
struct RowDraws {
    Streams streams;
    const std::int64_t* sample;
    const std::int64_t* user;
    std::int64_t many;
    EvenLaw law;
    const SeenRows& seen;

    std::uint64_t start(std::int64_t row) const { return streams.start(sample[row]); }
};

// Puts all draws of the rows of begin .. end behind each other: tiles are asked for together, refused ones drawn anew.
inline void draw_rows(const RowDraws& draws, std::int64_t begin, std::int64_t end, std::int32_t* out) {
    const std::int64_t all = (end - begin) * draws.many;
    if (all == 0) return;
    Questions questions(draws.seen, [&](std::int64_t entry, std::int64_t of) {
        const auto draw = static_cast<std::uint64_t>(entry % draws.many);
        out[entry] = draw_unseen(draws.law, draws.start(begin + entry / draws.many), draw, draws.seen.row(of), 1);
    });
    std::int64_t row = begin, k = 0, user[kTile];
    std::uint64_t start = draws.start(row);
    for (std::int64_t first = 0; first < all; first += kTile) {
        const std::int64_t tile = std::min(kTile, all - first);
        for (std::int64_t j = 0; j < tile; ++j, ++k) {
            if (k == draws.many) {
                k = 0;
                start = draws.start(++row);
            }
            user[j] = draws.user[row];
            out[first + j] = draws.law.propose(word(start, static_cast<std::uint64_t>(k)));
        }
        questions.ask(user, out + first, first, tile);
    }
    questions.finish();
}

// out[b, 0 .. m) = the m hardest of the draws of row b, for the rows of begin .. end
//
// Some rows' candidates are drawn while the rows before wait to be rated, so that a vector can be asked for early.
template <int D, bool Cosine>
inline void hardest_rows(const RowDraws& draws, const Vectors& vectors, std::int64_t m, std::int64_t* out,
                         std::int64_t begin, std::int64_t end) {
    const std::int64_t d = D > 0 ? D : vectors.width, many = draws.many;
    const std::int64_t group = std::max<std::int64_t>(1, kTogether / many);
    std::vector<std::int64_t> key(static_cast<std::size_t>(many));
    std::vector<std::int32_t> drawn(static_cast<std::size_t>(2 * group * many + kAhead));
    std::int32_t* waiting = drawn.data() + group * many;
    const auto draw = [&](std::int64_t first) {
        const std::int64_t last = std::min(first + group, end);
        draw_rows(draws, std::min(first, last), last, waiting);
        for (std::int64_t row = last; !draws.seen.sieve && row < std::min(last + group, end); ++row) {
            const Row next = draws.seen.row(draws.user[row]);
            __builtin_prefetch(next.begin + next.size() / 2);  // where a search begins
        }
    };
    draw(begin);
    for (std::int64_t first = begin; first < end; first += group) {
        std::copy(waiting, waiting + group * many, drawn.data());
        draw(first + group);
        const std::int32_t* candidate = drawn.data();
        for (std::int64_t row = first; row < std::min(first + group, end); ++row, candidate += many) {
            const float* query = vectors.query + row * d;
            for (std::int64_t k = 0; k < many; ++k) {
                prefetch_row(vectors.table + candidate[k + kAhead] * d, d);
                const float* vector = vectors.table + candidate[k] * d;
                key[k] = hardness(Cosine ? cosine<D>(query, vector, d) : dot<D>(query, vector, d), k);
            }
            hardest_first(key.data(), many, m);
            for (std::int64_t k = 0; k < m; ++k) out[row * m + k] = candidate[place_of(key[k])];
        }
    }
}

}  // namespace negsieve
