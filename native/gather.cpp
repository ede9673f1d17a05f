// Sums of gradients. Built without fused multiply-adds: an item that is positive and negative at once must get exactly
// nothing, as it does from torch, and not the digits that a product lost: Adam would make a step of them.
#include "gather.hpp"

#include "dot.hpp"

namespace negsieve {

template <int D>
static void add(float* __restrict sum, const float* __restrict one, float factor, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    for (std::int64_t at = 0; at < n; ++at) sum[at] += factor * one[at];
}

template <int D>
static void add(float* __restrict sum, const float* __restrict one, float factor, const float* __restrict other,
                float second, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    for (std::int64_t at = 0; at < n; ++at) sum[at] = sum[at] + factor * one[at] + second * other[at];
}

template <int D>
static void add_rows(const Rows& rows, const Sums& user, const Sums& item, const float* share, const float* slope,
                     std::int64_t width, Owner owner, int part, std::int64_t begin, std::int64_t end) {
    const std::int64_t d = D > 0 ? D : width;
    const float mean = 1.0f / static_cast<float>(rows.count);
    const auto place = [&](const Sums& sums, std::int64_t id, float pull) {
        const std::int64_t slot = sums.slot[id];
        sums.pull[slot] += pull;
        return sums.gradient + slot * d;
    };
    for (std::int64_t b = begin; b < end; ++b) {
        const float *u = user.row + rows.user[b] * d, *i = item.row + rows.item[b] * d;
        const float own = rows.slope[b] * mean;
        const std::int64_t first = b * rows.many, last = first + rows.many;
        if (owner.of(rows.user[b]) == part) {
            float* sum = place(user, rows.user[b], 1.0f);
            add<D>(sum, i, own, item.row + rows.negative[first] * d, slope[first] * mean, d);
            for (std::int64_t at = first + 1; at < last; ++at)
                add<D>(sum, item.row + rows.negative[at] * d, slope[at] * mean, d);
        }
        if (owner.of(rows.item[b]) == part) add<D>(place(item, rows.item[b], 1.0f), u, own, d);
        for (std::int64_t at = first; at < last; ++at)
            if (owner.of(rows.negative[at]) == part)
                add<D>(place(item, rows.negative[at], share[at]), u, slope[at] * mean, d);
    }
}

void add_gradients(const Rows& rows, const Sums& user, const Sums& item, const float* share, const float* slope,
                   std::int64_t width, Owner owner, int part, std::int64_t begin, std::int64_t end) {
    with_width(width, [&](auto d) {
        add_rows<decltype(d)::value>(rows, user, item, share, slope, width, owner, part, begin, end);
    });
}

}  // namespace negsieve
