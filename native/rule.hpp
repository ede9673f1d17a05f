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

// g = gradient + pull * p, then one step of row p of the table.
template <RuleKind Kind, int D>
inline void step_row(const Pace& pace, const Table& table, std::int64_t id, const float* __restrict gradient, float pull,
                     std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    float* __restrict p = table.row + id * n;
    if constexpr (Kind == RuleKind::sgd) {
        for (std::int64_t at = 0; at < n; ++at) p[at] -= pace.lr * (gradient[at] + pull * p[at]);
    } else if constexpr (Kind == RuleKind::adagrad) {
        float* __restrict sum = table.square + id * n;
        for (std::int64_t at = 0; at < n; ++at) {
            const float g = gradient[at] + pull * p[at];
            sum[at] += g * g;
            p[at] -= pace.lr * g / (std::sqrt(sum[at]) + pace.eps);
        }
    } else if constexpr (Kind == RuleKind::rowwise_adagrad) {
        float lane[16] = {};
        for (std::int64_t at = 0; at < n; ++at) {
            const float g = gradient[at] + pull * p[at];
            lane[at % 16] += g * g;
        }
        float sum = 0.0f;
        for (float one : lane) sum += one;
        table.square[id] += sum / static_cast<float>(n);
        const float rate = pace.lr / (std::sqrt(table.square[id]) + pace.eps);
        for (std::int64_t at = 0; at < n; ++at) p[at] -= rate * (gradient[at] + pull * p[at]);
    } else {
        float *__restrict m = table.mean + id * n, *__restrict v = table.square + id * n;
        if constexpr (Kind == RuleKind::sparse_adam) {  // a row whose gradient came to nothing is not touched
            bool some = false;
            for (std::int64_t at = 0; at < n; ++at) some |= gradient[at] + pull * p[at] != 0.0f;
            if (!some) return;
        }
        for (std::int64_t at = 0; at < n; ++at) {
            const float g = gradient[at] + pull * p[at];
            m[at] += pace.blend * (g - m[at]);
            v[at] = pace.beta2 * v[at] + pace.fresh * (g * g);
            p[at] -= pace.size * m[at] / (std::sqrt(v[at]) * pace.root + pace.eps);
        }
    }
}

}  // namespace negsieve
