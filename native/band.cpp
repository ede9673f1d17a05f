// A band of each row's ranking: what stands from one rank on, as many as asked. Twin: kernels/band.py.
//
// Nothing is sorted. Scores fall into evenly spaced bins, whose order no rounding can turn round; counts say in which
// bins the band begins and ends, and only the scores of those two are compared.
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "hardness.hpp"
#include "lanes.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr std::int32_t kBins = 2048;
constexpr std::uint16_t kGone = 0xffff;  // the bin of what may not be in the band
constexpr float kInfinite = std::numeric_limits<float>::infinity();

// Where the bins begin, and how many there are to a unit.
struct Grid {
    float first, scale;
};

// Bins from the least to the greatest score that is finite. The scale is finite and above 0, whatever they are.
static Grid grid_of(const float* score, std::int64_t many) {
    const float most = std::numeric_limits<float>::max();
    Lanes low[2], high[2];
    for (int side = 0; side < 2; ++side)
        for (int lane = 0; lane < kLanes; ++lane) low[side][lane] = most, high[side][lane] = -most;
    std::int64_t at = 0;
    for (; at + 2 * kLanes <= many; at += 2 * kLanes)
        for (int side = 0; side < 2; ++side) {
            const Lanes one = load(score + at + side * kLanes);
            low[side] = (one < low[side]) & (one > -kInfinite) ? one : low[side];
            high[side] = (one > high[side]) & (one < kInfinite) ? one : high[side];
        }
    float least = most, greatest = -most;
    for (; at < many; ++at) {
        if (score[at] < least && score[at] > -kInfinite) least = score[at];
        if (score[at] > greatest && score[at] < kInfinite) greatest = score[at];
    }
    for (int side = 0; side < 2; ++side)
        for (int lane = 0; lane < kLanes; ++lane) {
            least = std::min(least, low[side][lane]);
            greatest = std::max(greatest, high[side][lane]);
        }
    if (!(least < greatest)) return {least, 1.0f};
    const float scale = (kBins - 1) / (greatest - least);
    return {least, std::min(std::max(scale, std::numeric_limits<float>::min()), most)};
}

// bin[i] = the bin of score[i]: never a lower one for a higher score; -inf in the first, inf and NaN in the last
static void fill_bins(const float* __restrict score, std::int64_t many, const Grid& grid,
                      std::uint16_t* __restrict bin) {
    const float first = grid.first, scale = grid.scale, top = kBins - 1;
    for (std::int64_t i = 0; i < many; ++i) {
        float place = (score[i] - first) * scale;
        place = place <= top ? place : top;
        place = place >= 0.0f ? place : 0.0f;
        bin[i] = static_cast<std::uint16_t>(static_cast<std::int32_t>(place));
    }
}

// The band of one row at a time.
class Band {
public:
    Band(std::int64_t many, std::int64_t low, std::int64_t width, bool ranked)
        : many_(many), low_(low), width_(width), ranked_(ranked), bin_(many), near_(many) {}

    // out[0 .. width) = the places, then -1; what is taken may not be there, but counts as ranks before the band
    void find(const float* score, const std::int64_t* taken, std::int64_t n_taken, std::int64_t* out) {
        n_near_ = 0;
        if (low_ < many_) {
            count(score);
            begin(score, n_taken);
            remove(score, taken, n_taken);
            end(score);
            narrow(score);
        }
        if (ranked_) {
            key_.clear();
            for (std::int64_t i = 0; i < n_near_; ++i) key_.push_back(hardness(score[near_[i]], near_[i]));
            std::sort(key_.begin(), key_.end(), std::greater<>());
            for (std::int64_t i = 0; i < n_near_; ++i) out[i] = place_of(key_[i]);
        } else {
            std::copy(near_.begin(), near_.begin() + n_near_, out);
        }
        std::fill(out + n_near_, out + width_, -1);
    }

private:
    void count(const float* score) {
        fill_bins(score, many_, grid_of(score, many_), bin_.data());
        count_.fill(0);
        const std::uint16_t* bin = bin_.data();
        std::int32_t* counts = count_.data();
        for (std::int64_t i = 0; i < many_; ++i) ++counts[bin[i]];
    }

    // Finds the first of the band, and all places in the bins that the band may reach.
    void begin(const float* score, std::int64_t n_taken) {
        std::int64_t above = 0;
        top_ = kBins - 1;
        while (above + count_[top_] <= low_) above += count_[top_--];
        last_ = top_;
        for (std::int64_t reached = above + count_[top_]; last_ > 0 && reached < low_ + width_ + n_taken;)
            reached += count_[--last_];
        const std::uint16_t last = static_cast<std::uint16_t>(last_), span = static_cast<std::uint16_t>(top_ - last_);
        const std::uint16_t* bin = bin_.data();
        std::int32_t* near = near_.data();
        const std::int64_t many = many_;
        std::int64_t found = 0;
        for (std::int64_t i = 0; i < many; ++i) {
            near[found] = static_cast<std::int32_t>(i);
            found += static_cast<std::uint16_t>(bin[i] - last) <= span;
        }
        n_near_ = found;
        highest_ = std::numeric_limits<std::int64_t>::max();
        highest_ = nth_of(score, top_, low_ - above);
        count_[top_] -= static_cast<std::int32_t>(low_ - above);
    }

    void remove(const float* score, const std::int64_t* taken, std::int64_t n_taken) {
        for (std::int64_t i = 0; i < n_taken; ++i) {
            const std::int64_t place = taken[i];
            const std::uint16_t bin = bin_[place];
            if (bin > top_ || (bin == top_ && hardness(score[place], place) > highest_)) continue;  // above, or gone
            --count_[bin];
            bin_[place] = kGone;
        }
    }

    // Finds the last of the band.
    void end(const float* score) {
        std::int64_t left = width_;
        last_ = top_;
        while (last_ > 0 && count_[last_] < left) left -= count_[last_--];
        lowest_ = std::numeric_limits<std::int64_t>::min();
        if (left <= count_[last_]) lowest_ = nth_of(score, last_, left - 1);
    }

    // The key of what stands at a rank among the places of a bin that are no higher than the band's first.
    std::int64_t nth_of(const float* score, std::int32_t bin, std::int64_t rank) {
        key_.clear();
        for (std::int64_t i = 0; i < n_near_; ++i) {
            if (bin_[near_[i]] != bin) continue;
            const std::int64_t key = hardness(score[near_[i]], near_[i]);
            if (key <= highest_) key_.push_back(key);
        }
        std::nth_element(key_.begin(), key_.begin() + rank, key_.end(), std::greater<>());
        return key_[rank];
    }

    // Leaves of the places near the band those that are in it. What scores -inf is in the lowest bin.
    void narrow(const float* score) {
        std::int64_t found = 0;
        for (std::int64_t i = 0; i < n_near_; ++i) {
            const std::int32_t place = near_[i], bin = bin_[place];
            bool inside = bin > last_ && bin < top_;
            if (bin == last_ || bin == top_) {
                const std::int64_t key = hardness(score[place], place);
                inside = lowest_ <= key && key <= highest_ && score[place] != -kInfinite;
            }
            near_[found] = place;
            found += inside;
        }
        n_near_ = found;
    }

    const std::int64_t many_, low_, width_;
    const bool ranked_;
    std::vector<std::uint16_t> bin_;
    std::vector<std::int32_t> near_;  // places that may be in the band, ascending
    std::int64_t n_near_ = 0;
    std::array<std::int32_t, kBins> count_;
    std::vector<std::int64_t> key_;
    std::int64_t highest_ = 0, lowest_ = 0;  // keys of the band's first and last
    std::int32_t top_ = 0, last_ = 0;        // and their bins
};

// Pairs of row and place by row: those of row b are place[offset[b] .. offset[b + 1]).
struct Taken {
    Taken(const std::int64_t* row, const std::int64_t* at, std::int64_t pairs, std::int64_t rows, std::int64_t many)
        : offset(rows + 1), place(pairs) {
        want_ids(row, pairs, rows, "row");
        want_ids(at, pairs, many, "place");
        for (std::int64_t i = 0; i < pairs; ++i) ++offset[row[i]];
        for (std::int64_t b = 0, before = 0; b <= rows; ++b) before += std::exchange(offset[b], before);
        std::vector<std::int64_t> next = offset;
        for (std::int64_t i = 0; i < pairs; ++i) place[next[row[i]]++] = at[i];
    }

    std::vector<std::int64_t> offset, place;
};

// out[b, 0 .. width) = places in score[b]; row, place: pairs that are taken
static void band(In<float, 2> score, In<std::int64_t, 1> row, In<std::int64_t, 1> place, std::int64_t low, bool ranked,
                 Out<std::int64_t, 2> out, int threads) {
    const std::int64_t rows = score.shape(0), many = score.shape(1), width = out.shape(1);
    want(static_cast<std::int64_t>(out.shape(0)) == rows, "band: out needs the rows of score");
    want(row.shape(0) == place.shape(0), "band: wanted a place of what is taken for every row of it");
    want(low >= 0 && width >= 1, "band: it begins at rank 0 or later and is 1 wide or more");
    want(many <= INT32_MAX, "band: more than 2^31 scores a row");
    const float* scores = score.data();
    std::int64_t* places = out.data();
    nb::gil_scoped_release free;
    const Taken taken(row.data(), place.data(), row.shape(0), rows, many);
    parallel(threads, rows, 1 + 16384 / (many + 1), [&](std::int64_t begin, std::int64_t end) {
        Band one(many, low, width, ranked);
        for (std::int64_t b = begin; b < end; ++b) {
            const std::int64_t first = taken.offset[b];
            one.find(scores + b * many, taken.place.data() + first, taken.offset[b + 1] - first, places + b * width);
        }
    });
}

void bind_band(nb::module_& m) {
    using namespace nb::literals;
    m.def("band", &band, "score"_a, "row"_a, "place"_a, "low"_a, "ranked"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
