// What a row's positive and negatives cost, and how that changes with each score.
//
// Rows are priced sixteen at a time, a row a lane, always in full blocks: a row's numbers then do not depend on where
// a batch or a thread begins. Twin: negsieve/kernels/losses.py; the meaning of weight and keep is that of losses/given.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace negsieve {

constexpr int kPriced = 16;  // rows that are priced together

enum class LossKind : int { bpr = 0, soft_bpr = 1, bce = 2, hinge = 3, softmax = 4 };

// scale: what multiplies scores (beta; 1 / temperature). margin: hinge's. include: softmax's positive in its own sum.
struct PairLoss {
    LossKind kind;
    float scale;
    float margin;
    bool include;
};

// Rows of scores: positive [B], negative [B, K], weight and keep [B, K] or null.
struct Scores {
    const float* positive;
    const float* negative;
    const float* weight;
    const bool* keep;
    std::int64_t many;
};

// Where prices go: value, d_positive [B], d_negative [B, K].
struct Prices {
    float* value;
    float* d_positive;
    float* d_negative;
};

// e^x for x <= 0, to an ulp or two; NaN stays NaN. No branches and no table, so loops of it become vectors.
inline float exp_below(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f;  // the whole number stands in the low bits
    const float whole = shifted - 12582912.0f;
    float rest = x - whole * 0.693359375f;
    rest = rest - whole * -2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * (rest * rest) + rest + 1.0f;
    std::uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    bits = (bits << 23) + 0x3F800000u;
    float power;
    std::memcpy(&power, &bits, 4);
    return sum * power;
}

// log(1 + z) for z of 0 .. 1, by the series of atanh(z / (2 + z)): relative error below 2e-7 down to z = 0.
inline float log1p_below(float z) {
    const float r = z / (2.0f + z), square = r * r;
    float sum = 1.0f / 15.0f;
    sum = sum * square + 1.0f / 13.0f;
    sum = sum * square + 1.0f / 11.0f;
    sum = sum * square + 1.0f / 9.0f;
    sum = sum * square + 1.0f / 7.0f;
    sum = sum * square + 1.0f / 5.0f;
    sum = sum * square + 1.0f / 3.0f;
    sum = sum * square + 1.0f;
    return 2.0f * r * sum;
}

// log(1 + e^x) and its slope.
inline void softplus(float x, float* value, float* slope) {
    const float small = exp_below(x < 0.0f ? x : -x), share = 1.0f / (1.0f + small);
    *value = (x < 0.0f ? 0.0f : x) + log1p_below(small);
    *slope = x < 0.0f ? small * share : share;
}

namespace priced {

// A block's own lanes; those past the last row price zeros, which nobody reads.
struct Lanes {
    float positive[kPriced], value[kPriced], slope[kPriced], total[kPriced], some[kPriced];
};

inline float kept(const Scores& from, std::int64_t at) { return from.keep == nullptr || from.keep[at] ? 1.0f : 0.0f; }

// Each negative's factor in its row's sum: its weight, else one over how many are kept; nothing for the dropped.
inline float share(const Scores& from, std::int64_t at, float total) {
    if (from.keep != nullptr && !from.keep[at]) return 0.0f;
    return from.weight != nullptr ? from.weight[at] : 1.0f / total;
}

// bpr, soft_bpr, bce and hinge: a sum of one term a negative.
template <LossKind Kind>
inline void terms(const PairLoss& loss, const Scores& from, const Prices& to, int rows, Lanes& lane) {
    const float scale = Kind == LossKind::soft_bpr ? loss.scale : 1.0f;
    for (std::int64_t k = 0; k < from.many; ++k) {
        float x[kPriced] = {}, part[kPriced] = {}, value[kPriced], slope[kPriced];
        for (int l = 0; l < rows; ++l) {
            const std::int64_t at = l * from.many + k;
            part[l] = share(from, at, lane.total[l]);
            x[l] = from.keep == nullptr || from.keep[at] ? from.negative[at] : 0.0f;
        }
        for (int l = 0; l < kPriced; ++l) {
            if (Kind == LossKind::bce) {
                softplus(x[l], &value[l], &slope[l]);
            } else if (Kind == LossKind::hinge) {
                const float gap = loss.margin + (x[l] - lane.positive[l]);
                value[l] = gap <= 0.0f ? 0.0f : gap;
                slope[l] = gap > 0.0f ? 1.0f : 0.0f;
            } else {
                softplus(scale * x[l] - scale * lane.positive[l], &value[l], &slope[l]);
            }
        }
        for (int l = 0; l < kPriced; ++l) {
            slope[l] *= scale * part[l];
            lane.value[l] += value[l] * part[l];
            if (Kind != LossKind::bce) lane.slope[l] -= slope[l];
        }
        for (int l = 0; l < rows; ++l) to.d_negative[l * from.many + k] = slope[l];
    }
    if (Kind != LossKind::bce) return;
    for (int l = 0; l < kPriced; ++l) {
        float value, slope;
        softplus(-lane.positive[l], &value, &slope);
        lane.value[l] += value * lane.some[l];
        lane.slope[l] -= slope * lane.some[l];
    }
}

// log of a sum of exponentials over the kept, less the positive's own exponent.
inline void softmax(const PairLoss& loss, const Scores& from, const Prices& to, int rows, Lanes& lane) {
    constexpr float kNone = -std::numeric_limits<float>::infinity(), kTiny = std::numeric_limits<float>::min();
    float own[kPriced], top[kPriced], sum[kPriced];
    const auto exponent = [&](std::int64_t at) {
        const float weight = from.weight == nullptr ? 1.0f : std::max(from.weight[at], kTiny);
        return from.negative[at] * loss.scale + (from.weight == nullptr ? 0.0f : std::log(weight));
    };
    for (int l = 0; l < kPriced; ++l) {
        own[l] = lane.positive[l] * loss.scale;
        top[l] = loss.include ? own[l] : kNone;
    }
    for (int l = 0; l < rows; ++l)
        for (std::int64_t at = l * from.many; at < (l + 1) * from.many; ++at) {
            const float x = kept(from, at) > 0.0f ? exponent(at) : kNone;
            to.d_negative[at] = x;
            top[l] = x <= top[l] ? top[l] : x;  // a NaN becomes the top, and stays
        }
    for (int l = 0; l < kPriced; ++l) {
        top[l] = top[l] == kNone ? 0.0f : top[l];
        sum[l] = loss.include ? exp_below(own[l] - top[l]) : 0.0f;
    }
    for (std::int64_t k = 0; k < from.many; ++k) {
        float x[kPriced] = {};
        for (int l = 0; l < rows; ++l) x[l] = to.d_negative[l * from.many + k] - top[l];
        for (int l = 0; l < kPriced; ++l) x[l] = x[l] == kNone ? 0.0f : exp_below(x[l]);
        for (int l = 0; l < kPriced; ++l) sum[l] += x[l];
        for (int l = 0; l < rows; ++l) to.d_negative[l * from.many + k] = x[l];
    }
    for (int l = 0; l < rows; ++l) {
        const bool dead = lane.some[l] == 0.0f;
        const float part = dead ? 0.0f : loss.scale / sum[l];
        lane.value[l] = dead ? 0.0f : std::log(sum[l]) + top[l] - own[l];
        lane.slope[l] = dead ? 0.0f : (loss.include ? exp_below(own[l] - top[l]) * part : 0.0f) - loss.scale;
        for (std::int64_t at = l * from.many; at < (l + 1) * from.many; ++at) to.d_negative[at] *= part;
    }
}

}  // namespace priced

// The first `rows` rows, sixteen at most. d_negative is that of the score, so 0 for the dropped.
inline void price_block(const PairLoss& loss, const Scores& from, const Prices& to, int rows) {
    priced::Lanes lane = {};
    for (int l = 0; l < rows; ++l) {
        lane.positive[l] = from.positive[l];
        float count = 0.0f;
        for (std::int64_t k = 0; k < from.many; ++k) count += priced::kept(from, l * from.many + k);
        lane.some[l] = count > 0.0f ? 1.0f : 0.0f;
        lane.total[l] = std::max(count, 1.0f);
    }
    switch (loss.kind) {
        case LossKind::bpr: priced::terms<LossKind::bpr>(loss, from, to, rows, lane); break;
        case LossKind::soft_bpr: priced::terms<LossKind::soft_bpr>(loss, from, to, rows, lane); break;
        case LossKind::bce: priced::terms<LossKind::bce>(loss, from, to, rows, lane); break;
        case LossKind::hinge: priced::terms<LossKind::hinge>(loss, from, to, rows, lane); break;
        case LossKind::softmax: priced::softmax(loss, from, to, rows, lane); break;
    }
    std::memcpy(to.value, lane.value, static_cast<std::size_t>(rows) * sizeof(float));
    std::memcpy(to.d_positive, lane.slope, static_cast<std::size_t>(rows) * sizeof(float));
}

// Rows begin .. end of a batch; begin is a multiple of kPriced wherever the same bits are promised.
inline void price_rows(const PairLoss& loss, const Scores& from, const Prices& to, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; row += kPriced) {
        const std::int64_t at = row * from.many;
        const Scores block = {from.positive + row, from.negative + at, from.weight == nullptr ? nullptr : from.weight + at,
                              from.keep == nullptr ? nullptr : from.keep + at, from.many};
        const Prices out = {to.value + row, to.d_positive + row, to.d_negative + at};
        price_block(loss, block, out, static_cast<int>(std::min<std::int64_t>(kPriced, end - row)));
    }
}

}  // namespace negsieve
