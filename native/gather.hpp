// The rows of a step, who owns which, and the sums of their gradients.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace negsieve {

// The rows of a step and what it writes about each.
struct Rows {
    std::int64_t count, many;          // B, K
    const std::int64_t *user, *item;   // [B]
    const std::int64_t* candidate;     // [B, H] of which the hardest become the negatives, or null: those are given
    std::int64_t candidates;           // H
    std::int64_t* negative;            // [B, K]
    const float* weight;               // [B, K] or null
    const bool* keep;                  // [B, K] or null
    float *positive, *rated;           // scores [B], [B, K]
    float *value, *penalty, *slope;    // loss, penalty and the loss's slope by the positive's score, [B]

    // `n` rows of many, from `first` on.
    Rows from(std::int64_t first, std::int64_t n) const {
        Rows some = *this;
        some.count = n;
        for (const std::int64_t** one : {&some.user, &some.item}) *one += first;
        for (float** one : {&some.positive, &some.value, &some.penalty, &some.slope}) *one += first;
        some.negative += first * many;
        some.rated += first * many;
        if (candidate != nullptr) some.candidate += first * candidates;
        if (weight != nullptr) some.weight += first * many;
        if (keep != nullptr) some.keep += first * many;
        return some;
    }
};

// Each negative's share of its row's penalty: even, over the kept, or by weight.
inline void penalty_shares(const Rows& rows, std::int64_t b, float* share) {
    const std::int64_t first = b * rows.many;
    float sum = 0.0f;
    for (std::int64_t k = 0; k < rows.many; ++k) {
        const bool kept = rows.keep == nullptr || rows.keep[first + k];
        share[k] = kept ? (rows.weight == nullptr ? 1.0f : rows.weight[first + k]) : 0.0f;
        sum += share[k];
    }
    sum = sum < 1e-12f ? 1e-12f : sum;
    for (std::int64_t k = 0; k < rows.many; ++k) share[k] /= sum;
}

// Which of some parts owns a row: sixteen rows in turn, so that a cache line of their places has one owner.
class Owner {
public:
    explicit Owner(int parts) : parts_(static_cast<std::uint32_t>(parts)), mask_(parts_ - 1) {}

    int of(std::int64_t row) const {
        const auto line = static_cast<std::uint32_t>(row >> 4);
        return static_cast<int>((parts_ & mask_) == 0 ? line & mask_ : line % parts_);
    }

private:
    std::uint32_t parts_, mask_;
};

// One table's rows, and the place, gradient and penalty of those that a part owns and the step touches.
struct Sums {
    const float* row;
    const std::int32_t* slot;
    float *gradient, *pull;
};

// Adds rows begin .. end of a step, in their order, to what the part owns. share and slope: [B, K] of the penalty and
// of the loss by the negatives' scores.
void add_gradients(const Rows& rows, const Sums& user, const Sums& item, const float* share, const float* slope,
                   std::int64_t width, Owner owner, int part, std::int64_t begin, std::int64_t end);

}  // namespace negsieve
