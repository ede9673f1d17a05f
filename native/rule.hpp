// How an optimiser moves one row, given the row's gradient. Twin: negsieve/kernels/rows.py.
#pragma once

#include <cmath>
#include <cstdint>

namespace negsieve {

enum class RuleKind : int { sgd = 0, adagrad = 1, rowwise_adagrad = 2, sparse_adam = 3, adam = 4 };

// A table of n rows, with what its optimiser remembers of each: what a rule does not use is null.
struct Table {
    float* row;
    float* mean;          // Adam: the running mean of gradients [n, D]
    float* square;        // of their squares, or their sum [n, D]; rowwise_adagrad: [n]
    std::int32_t* clock;  // adam: the step that a row stands at, 0 before its first
    std::int64_t n;
};

// A rule at one step.
struct Pace {
    RuleKind kind;
    float lr, eps;
    float blend;   // 1 - beta1
    float beta2, fresh;  // and 1 - beta2
    float size;  // Adam's learning rate over the first bias correction
    float root;  // one over the root of the second
};

inline Pace pace_at(RuleKind kind, double lr, double beta1, double beta2, double eps, std::int64_t step) {
    const auto now = static_cast<double>(step);
    const double first = 1 - std::pow(beta1, now), root = std::sqrt(1 - std::pow(beta2, now));
    Pace pace = {};
    pace.kind = kind;
    pace.lr = static_cast<float>(lr);
    pace.eps = static_cast<float>(eps);
    pace.blend = static_cast<float>(1 - beta1);
    pace.beta2 = static_cast<float>(beta2);
    pace.fresh = static_cast<float>(1 - beta2);
    pace.size = static_cast<float>(kind == RuleKind::sparse_adam ? lr * root / first : lr / first);
    pace.root = static_cast<float>(kind == RuleKind::sparse_adam ? 1.0 : 1 / root);
    return pace;
}

// The loops over a row stand apart, all they need being arguments: what is read through a reference might be what they
// write, for all that the compiler knows, and they would not become vectors.

template <int D>
inline void sgd_row(float* __restrict p, const float* __restrict gradient, float pull, float lr, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    for (std::int64_t at = 0; at < n; ++at) p[at] -= lr * (gradient[at] + pull * p[at]);
}

template <int D>
inline void adagrad_row(float* __restrict p, float* __restrict sum, const float* __restrict gradient, float pull, float lr,
                        float eps, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    for (std::int64_t at = 0; at < n; ++at) {
        const float g = gradient[at] + pull * p[at];
        sum[at] += g * g;
        p[at] -= lr * g / (std::sqrt(sum[at]) + eps);
    }
}

template <int D>
inline float mean_square(const float* __restrict p, const float* __restrict gradient, float pull, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    float lane[16] = {};
    for (std::int64_t at = 0; at < n; ++at) {
        const float g = gradient[at] + pull * p[at];
        lane[at % 16] += g * g;
    }
    float sum = 0.0f;
    for (float one : lane) sum += one;
    return sum / static_cast<float>(n);
}

// Whether any number of the gradient is not zero.
template <int D>
inline bool moves(const float* __restrict p, const float* __restrict gradient, float pull, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    std::int32_t some = 0;
    for (std::int64_t at = 0; at < n; ++at) some |= gradient[at] + pull * p[at] != 0.0f ? 1 : 0;
    return some != 0;
}

template <int D>
inline void adam_row(float* __restrict p, float* __restrict m, float* __restrict v, const float* __restrict gradient,
                     float pull, Pace pace, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    const float blend = pace.blend, beta2 = pace.beta2, fresh = pace.fresh, size = pace.size, root = pace.root,
                eps = pace.eps;
    for (std::int64_t at = 0; at < n; ++at) {
        const float g = gradient[at] + pull * p[at];
        m[at] += blend * (g - m[at]);
        v[at] = beta2 * v[at] + fresh * (g * g);
        p[at] -= size * m[at] / (std::sqrt(v[at]) * root + eps);
    }
}

// g = gradient + pull * p, then one step of row p of the table.
template <RuleKind Kind, int D>
inline void step_row(const Pace& pace, const Table& table, std::int64_t id, const float* gradient, float pull,
                     std::int64_t width) {
    const std::int64_t at = id * (D > 0 ? D : width);
    float* p = table.row + at;
    if constexpr (Kind == RuleKind::sgd) {
        sgd_row<D>(p, gradient, pull, pace.lr, width);
    } else if constexpr (Kind == RuleKind::adagrad) {
        adagrad_row<D>(p, table.square + at, gradient, pull, pace.lr, pace.eps, width);
    } else if constexpr (Kind == RuleKind::rowwise_adagrad) {
        float& sum = table.square[id];
        sum += mean_square<D>(p, gradient, pull, width);
        const float rate = pace.lr / (std::sqrt(sum) + pace.eps);
        sgd_row<D>(p, gradient, pull, rate, width);
    } else {
        // sparse_adam leaves a row alone whose gradient came to nothing
        if (Kind == RuleKind::sparse_adam && !moves<D>(p, gradient, pull, width)) return;
        adam_row<D>(p, table.mean + at, table.square + at, gradient, pull, pace, width);
    }
}

}  // namespace negsieve
