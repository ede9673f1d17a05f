// How far a row coasts under Adam while its gradient is zero: many steps of dense Adam in one go.
//
// A row last moved at step t, with moments m and v, does at step t + k of g steps
//     p -= w_k m / (a_k s + eps),  w_k = lr b1^k / (1 - b1^(t+k)),  a_k = sqrt(b2^k / (1 - b2^(t+k))),  s = sqrt(v).
// The a_k lie close together where the w_k are not small, so around their mean c (weighted by w_k)
//     sum_k w_k / (a_k s + eps) = sum_n D_n (-y)^n / (c s + eps),  y = c s / (c s + eps),  D_n = sum_k w_k (a_k / c - 1)^n
// converges for every s and eps. The D_n depend on t and g alone; from P_n = sum_k w_k a_k^n, which for all gaps
// that end now follow from each other backwards, they are a binomial sum. Beyond `reach` steps b1^k has vanished, and
// what a row that started at t gets in all is kept once it is known. Where the series is too short (the first dozens of
// steps of a run, when a_k still falls fast) the steps are done one by one.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace negsieve {

class Coast {
public:
    static constexpr int kOrder = 7, kBrief = 3;  // D_0 .. D_7; all but the first hundreds of steps need D_0 .. D_3
    static constexpr double kTolerance = 1e-7;  // of the way that a row coasts

    // The whole way over one gap, and what the moments keep of themselves.
    struct Way {
        bool known, brief;  // whether the series serves, and whether its first terms do
        float centre, mean, square;
        std::array<float, kOrder + 1> term;
    };

    Coast(double beta1, double beta2, double eps) : beta1_(beta1), beta2_(beta2), eps_(static_cast<float>(eps)) {
        reach_ = 1;
        while (std::pow(beta1_, static_cast<double>(reach_)) > 1e-9 && reach_ < 4096) ++reach_;
        double root = beta1_;
        for (auto& one : shrink_) {
            one = root;
            root *= std::sqrt(beta2_);
        }
        power_.assign(2 * static_cast<std::size_t>(reach_) + 1, {1.0f, 1.0f});
        for (std::size_t k = 1; k < power_.size(); ++k)
            power_[k] = {static_cast<float>(std::pow(beta1_, static_cast<double>(k))),
                         static_cast<float>(std::pow(beta2_, static_cast<double>(k)))};
        rate_.push_back(0.0);  // steps count from 1
        done_.push_back({});
        begin_.resize(static_cast<std::size_t>(reach_));
        near_.resize(static_cast<std::size_t>(reach_) + 1);
    }

    std::int64_t step() const { return static_cast<std::int64_t>(rate_.size()) - 1; }
    double rate(std::int64_t step) const { return rate_[static_cast<std::size_t>(step)]; }
    double beta1() const { return beta1_; }
    double beta2() const { return beta2_; }
    float eps() const { return eps_; }

    // One more step has been done, at this learning rate.
    void push(double lr) {
        rate_.push_back(lr);
        const double now = static_cast<double>(step());
        Sums& at = begin_[static_cast<std::size_t>(step() % reach_)];
        at[0] = lr / (1 - std::pow(beta1_, now));
        const double a = 1 / std::sqrt(1 - std::pow(beta2_, now));
        for (int n = 1; n <= kOrder + 1; ++n) at[n] = at[n - 1] * a;
        stale_ = true;
        if (step() <= reach_) return;
        Sums sum = {};
        for (std::int64_t s = step(); s > step() - reach_; --s) add(sum, s);
        done_.push_back(way(sum, reach_));
    }

    // Computes the ways that end now; call before `over`, from one thread.
    void look_back() {
        if (!stale_) return;
        stale_ = false;
        Sums sum = {};
        const std::int64_t far = std::min(reach_, step());
        for (std::int64_t gap = 1; gap <= far; ++gap) {
            add(sum, step() - gap + 1);
            near_[static_cast<std::size_t>(gap)] = way(sum, gap);
        }
    }

    // The way of a row that last moved at step `since`, 1 .. step() - 1.
    Way over(std::int64_t since) const {
        const std::int64_t gap = step() - since;
        if (gap <= reach_) return near_[static_cast<std::size_t>(gap)];
        Way found = done_[static_cast<std::size_t>(since)];
        keep(found, gap);
        return found;
    }

    // Brings row p with its moments from step `since` to now.
    template <int D>
    void move(float* __restrict p, float* __restrict m, float* __restrict v, std::int64_t since, std::int64_t width) const {
        const std::int64_t n = D > 0 ? D : width;
        const Way way = over(since);
        if (!way.known) return one_by_one(p, m, v, since, n, way);
        way.brief ? along<D, kBrief>(p, m, v, way, eps_, n) : along<D, kOrder>(p, m, v, way, eps_, n);
    }

private:
    template <int D, int Order>
    static void along(float* __restrict p, float* __restrict m, float* __restrict v, Way way, float eps,
                      std::int64_t width) {
        const std::int64_t n = D > 0 ? D : width;
        for (std::int64_t at = 0; at < n; ++at) {
            const float root = way.centre * std::sqrt(v[at]), inverse = 1.0f / (root + eps), y = root * inverse;
            float sum = way.term[Order];
            for (int order = Order - 1; order > 1; --order) sum = way.term[order] - sum * y;  // D_1 is 0
            p[at] -= m[at] * inverse * (way.term[0] + sum * y * y);
            m[at] *= way.mean;
            v[at] *= way.square;
        }
    }

    using Sums = std::array<double, kOrder + 2>;  // P_0 .. P_8; the last judges the error

    void add(Sums& sum, std::int64_t s) const {
        const Sums& at = begin_[static_cast<std::size_t>(s % reach_)];
        for (int n = 0; n <= kOrder + 1; ++n) sum[n] = shrink_[n] * (sum[n] + at[n]);
    }

    void keep(Way& way, std::int64_t gap) const {
        const auto known = static_cast<std::int64_t>(power_.size());
        way.mean = gap < known ? power_[static_cast<std::size_t>(gap)][0] : 0.0f;  // below 1e-18, and soon subnormal
        way.square = gap < known ? power_[static_cast<std::size_t>(gap)][1]
                                 : static_cast<float>(std::pow(beta2_, static_cast<double>(gap)));
    }

    Way way(const Sums& sum, std::int64_t gap) const {
        Way found = {};
        keep(found, gap);
        if (!(sum[0] > 0)) {
            found.known = sum[0] == 0;  // a learning rate of 0
            found.centre = 1.0f;
            return found;
        }
        const double c = sum[1] / sum[0];
        std::array<double, kOrder + 2> line;  // P_n / c^n, then differences of differences: D_n
        double scale = 1;
        for (int n = 0; n <= kOrder + 1; ++n) {
            line[n] = sum[n] * scale;
            scale /= c;
        }
        for (int order = 1; order <= kOrder + 1; ++order)
            for (int n = kOrder + 1; n >= order; --n) line[n] -= line[n - 1];
        found.known = std::fabs(line[kOrder + 1]) <= kTolerance * line[0];
        found.brief = std::fabs(line[kBrief + 1]) <= 0.1 * kTolerance * line[0];
        found.centre = static_cast<float>(c);
        for (int n = 0; n <= kOrder; ++n) found.term[n] = static_cast<float>(line[n]);
        return found;
    }

    void one_by_one(float* __restrict p, float* __restrict m, float* __restrict v, std::int64_t since, std::int64_t n,
                    const Way& way) const {
        constexpr std::int64_t kBlock = 64;
        const std::int64_t last = std::min(step(), since + reach_);
        for (std::int64_t first = 0; first < n; first += kBlock) {
            const std::int64_t many = std::min(kBlock, n - first);
            float root[kBlock] = {}, far[kBlock] = {};  // summed apart, so that p is rounded once
            for (std::int64_t at = 0; at < many; ++at) root[at] = std::sqrt(v[first + at]);
            double w = 1, a = 1;
            for (std::int64_t s = since + 1; s <= last; ++s) {
                w *= beta1_;
                a *= beta2_;
                const auto now = static_cast<double>(s);
                const auto pace = static_cast<float>(rate(s) * w / (1 - std::pow(beta1_, now)));
                const auto spread = static_cast<float>(std::sqrt(a / (1 - std::pow(beta2_, now))));
                for (std::int64_t at = 0; at < kBlock; ++at) far[at] += pace / (spread * root[at] + eps_);
            }
            for (std::int64_t at = first; at < first + many; ++at) {
                p[at] -= m[at] * far[at - first];
                m[at] *= way.mean;
                v[at] *= way.square;
            }
        }
    }

    double beta1_, beta2_;
    float eps_;
    std::int64_t reach_;
    bool stale_ = true;
    std::array<double, kOrder + 2> shrink_;        // b1 b2^(n/2)
    std::vector<std::array<float, 2>> power_;      // b1^k, b2^k
    std::vector<double> rate_;                     // of each step
    std::vector<Sums> begin_;                      // what each of the last `reach` steps adds
    std::vector<Way> near_, done_;                 // by gap, to now; by start, once all of it is behind
};

}  // namespace negsieve
