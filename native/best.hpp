// The best k of a stream of scored items: by higher score, ties by lower item number.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace negsieve {

constexpr float kLowest = std::numeric_limits<float>::lowest();  // -inf, "never", is below it
constexpr std::int64_t kSample = 1024;                           // scores from which a first threshold is guessed
constexpr std::int64_t kFold = 4;

// A scored item as one number: the better it ranks, the smaller. -0 and 0 are equal scores.
inline std::uint64_t entry(float score, std::uint32_t item) {
    score += 0.0f;
    std::uint32_t bits;
    std::memcpy(&bits, &score, sizeof bits);
    bits = (bits & 0x80000000u) ? bits : ~(bits | 0x80000000u);
    return static_cast<std::uint64_t>(bits) << 32 | item;
}

inline std::uint32_t item_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }

inline float score_of(std::uint64_t entry) {
    std::uint32_t bits = static_cast<std::uint32_t>(entry >> 32);
    bits = (bits & 0x80000000u) ? bits : ~(bits | 0x80000000u);
    float score;
    std::memcpy(&score, &bits, sizeof score);
    return score;
}

// How many of a sample's best scores to pass over for a threshold that k of all n items will most likely reach.
inline std::int64_t sample_rank(std::int64_t k, std::int64_t n, std::int64_t sample) {
    const double mean = static_cast<double>(k) * static_cast<double>(sample) / static_cast<double>(n);
    return static_cast<std::int64_t>(mean + 2.5 * std::sqrt(mean) + 2.0);
}

// Whether guessing pays: a sample must be few of many, and k few of what it stands for.
inline bool worth_guessing(std::int64_t k, std::int64_t n, std::int64_t sample) {
    return sample > 0 && n >= 4 * sample && sample_rank(k, n, sample) < sample / kFold / 2;
}

// A threshold from a sample, which is overwritten. NaN counts for nothing. The best of each kFold is looked at alone:
// where two of the best fall together the threshold is a little lower, which harms nothing.
inline float guess(float* sample, std::int64_t size, std::int64_t rank) {
    const std::int64_t folded = size / kFold;
    for (std::int64_t i = 0; i < folded; ++i) {
        float most = -std::numeric_limits<float>::infinity();
        for (std::int64_t part = 0; part < kFold; ++part) {
            const float one = sample[part * folded + i];
            most = most < one ? one : most;
        }
        sample[i] = most;
    }
    std::nth_element(sample, sample + rank, sample + folded, [](float a, float b) { return a > b; });
    return std::max(sample[rank], kLowest);
}

// Rows of candidates that shrink to their best k when they overflow.
class Candidates {
public:
    // ascending: whether the items of a row come in the order of their numbers.
    Candidates(std::int64_t rows, std::int64_t k, bool ascending)
        : k_(k), room_(room(k)), ascending_(ascending), entries_(static_cast<std::size_t>(rows * room_)), end_(rows),
          least_(rows) {}

    static std::int64_t bytes(std::int64_t k) { return room(k) * static_cast<std::int64_t>(sizeof(std::uint64_t)); }

    void clear(std::int64_t row, float least) {
        end_[row] = begin(row);
        least_[row] = least;
    }

    // What a score must reach to matter.
    float least(std::int64_t row) const { return least_[row]; }

    bool full(std::int64_t row) { return end_[row] - begin(row) >= k_; }

    // Whether `least` has risen by it.
    bool offer(std::int64_t row, float score, std::uint32_t item) {
        *end_[row]++ = entry(score, item);
        if (end_[row] != begin(row) + room_) return false;
        shrink(row);
        return true;
    }

    // The best k in `places` places, padded with item -1 and score -inf.
    void finish(std::int64_t row, std::int64_t places, std::int64_t* item, float* score) {
        std::uint64_t* own = begin(row);
        const std::int64_t found = std::min<std::int64_t>(end_[row] - own, k_);
        if (end_[row] - own < kFew) {
            std::partial_sort(own, own + found, end_[row]);
        } else {
            sort_many(own, end_[row] - own);
        }
        for (std::int64_t place = 0; place < found; ++place) {
            item[place] = item_of(own[place]);
            score[place] = score_of(own[place]);
        }
        std::fill(item + found, item + places, std::int64_t{-1});
        std::fill(score + found, score + places, -std::numeric_limits<float>::infinity());
    }

private:
    static constexpr std::int64_t kFew = 256;

    static std::int64_t room(std::int64_t k) { return 2 * k + std::max<std::int64_t>(32, k / 8); }

    std::uint64_t* begin(std::int64_t row) { return entries_.data() + row * room_; }

    void shrink(std::int64_t row) {
        std::uint64_t* own = begin(row);
        std::nth_element(own, own + (k_ - 1), own + room_);
        end_[row] = own + k_;
        const float last = score_of(own[k_ - 1]);
        // where items ascend a later one with the same score loses: only more than that matters now
        least_[row] = ascending_ ? std::nextafter(last, std::numeric_limits<float>::infinity()) : last;
    }

    // Two passes of a radix sort over the range that the entries span, then each run of neighbours by itself.
    void sort_many(std::uint64_t* own, std::int64_t n) {
        constexpr int kBits = 10, kBuckets = 1 << kBits;
        const auto [least, most] = std::minmax_element(own, own + n);
        const std::uint64_t base = *least;
        int shift = 0;
        while (((*most - base) >> shift) >> (2 * kBits)) ++shift;
        std::uint32_t low[kBuckets] = {}, high[kBuckets] = {};
        for (std::int64_t i = 0; i < n; ++i) {
            const std::uint64_t key = (own[i] - base) >> shift;
            ++low[key & (kBuckets - 1)];
            ++high[key >> kBits];
        }
        for (std::uint32_t* count : {low, high}) {
            std::uint32_t sum = 0;
            for (int bucket = 0; bucket < kBuckets; ++bucket) sum += std::exchange(count[bucket], sum);
        }
        spare_.resize(static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; ++i) spare_[low[((own[i] - base) >> shift) & (kBuckets - 1)]++] = own[i];
        for (std::int64_t i = 0; i < n; ++i) own[high[((spare_[i] - base) >> shift) >> kBits]++] = spare_[i];
        for (std::int64_t first = 0, last; first < n; first = last) {
            for (last = first + 1; last < n && (own[last] - base) >> shift == (own[first] - base) >> shift;) ++last;
            if (last > first + 1) std::sort(own + first, own + last);
        }
    }

    std::int64_t k_, room_;
    bool ascending_;
    std::vector<std::uint64_t> entries_;
    std::vector<std::uint64_t*> end_;
    std::vector<float> least_;
    std::vector<std::uint64_t> spare_;
};

}  // namespace negsieve
