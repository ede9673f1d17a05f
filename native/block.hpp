// Many steps of matrix factorisation in one go: choose, step, with the threads meeting between the parts.
#pragma once

#include <atomic>
#include <cmath>

#include "hardest.hpp"
#include "pool.hpp"
#include "step.hpp"

namespace negsieve {

// A rule for two tables, how many steps it has done, and the room that steps work in.
struct Descent {
    Descent(int kind, double beta1, double beta2, double eps, std::int64_t n_users, std::int64_t n_items)
        : kind(static_cast<RuleKind>(kind)), beta1(beta1), beta2(beta2), eps(eps), coast(beta1, beta2, eps),
          space(n_users, n_items) {}

    bool lazy() const { return kind == RuleKind::adam; }
    void push(double lr) {
        ++step;
        if (lazy()) coast.push(lr);
    }

    const RuleKind kind;
    const double beta1, beta2, eps;
    std::int64_t step = 0;
    Coast coast;
    Workspace space;
    std::atomic<bool> busy{false};
};

constexpr std::int64_t kMostCandidates = 4096;

// Steps in turn, all threads through each together.
template <int D>
class Block {
public:
    Block(Descent& descent, const Table& user, const Table& item, const PairLoss& loss, double lr, float l2,
          std::int64_t width, int parts)
        : descent_(descent), coast_(descent.lazy() ? &descent.coast : nullptr),
          step_(descent.space, coast_, user, item, loss, l2, width, parts), lr_(lr), parts_(parts), barrier_(parts) {}

    // Does steps until one is not finite; returns how many were done. of(s) are step s's rows.
    template <class Of>
    std::int64_t run(std::int64_t steps, std::int64_t largest, std::int64_t many, const Of& of) {
        step_.prepare(largest, many);
        if (coast_ != nullptr) coast_->look_back();
        std::int64_t done = 0;
        Pool::shared().run(parts_, [&](int part) {
            for (std::int64_t s = 0; s < steps; ++s) {
                const Rows rows = of(s);
                parts_ == 1 ? alone(rows) : together(rows, part);
                barrier_.wait();
                if (part == 0) total_ = step_.total(rows);
                const Pace pace = pace_at(descent_.kind, lr_, descent_.beta1, descent_.beta2, descent_.eps, descent_.step + 1);
                barrier_.wait();
                const bool refused = !std::isfinite(static_cast<float>(total_));
                step_.update(rows, pace, part, refused);
                barrier_.wait();
                if (refused) return;
                if (part == 0) {
                    descent_.push(lr_);
                    if (coast_ != nullptr) coast_->look_back();
                    done = s + 1;
                }
                barrier_.wait();
            }
        });
        return done;
    }

private:
    static constexpr std::int64_t kChunk = 2 * kPriced;  // rows whose vectors stay in the first cache

    void alone(const Rows& rows) {
        for (std::int64_t begin = 0; begin < rows.count; begin += kChunk) {
            const std::int64_t end = std::min(begin + kChunk, rows.count);
            step_.claim_pairs(rows, 0, begin, end);
            if (rows.candidate != nullptr) {
                wake(rows, 0, begin, end);
                choose(rows, begin, end);
            }
            step_.claim_negatives(rows, 0, begin, end);
            step_.price(rows, begin, end);
            step_.gather(rows, 0, begin, end);
        }
    }

    void together(const Rows& rows, int part) {
        const std::int64_t blocks = (rows.count + kPriced - 1) / kPriced;
        const std::int64_t begin = std::min(rows.count, blocks * part / parts_ * kPriced);
        const std::int64_t end = std::min(rows.count, blocks * (part + 1) / parts_ * kPriced);
        step_.claim_pairs(rows, part, 0, rows.count);
        barrier_.wait();
        if (rows.candidate != nullptr) {
            wake(rows, part, 0, rows.count);
            barrier_.wait();
            choose(rows, begin, end);
            barrier_.wait();
        }
        step_.claim_negatives(rows, part, 0, rows.count);
        barrier_.wait();
        step_.price(rows, begin, end);
        barrier_.wait();
        step_.gather(rows, part, 0, rows.count);
    }

    // Brings the candidates that this part owns to the present.
    void wake(const Rows& rows, int part, std::int64_t begin, std::int64_t end) {
        if (coast_ == nullptr) return;
        const std::int64_t last = rows.count * rows.candidates;
        for (std::int64_t at = begin * rows.candidates; at < end * rows.candidates; ++at) {
            if (at + kAhead < last) step_.reach_for(kItem, rows.candidate[at + kAhead]);
            if (step_.owns(rows.candidate[at], part)) step_.wake(kItem, rows.candidate[at]);
        }
    }

    void choose(const Rows& rows, std::int64_t begin, std::int64_t end) {
        const std::int64_t many = rows.candidates, last = rows.count * many;
        std::int64_t key[kMostCandidates];
        for (std::int64_t b = begin; b < end; ++b) {
            const float* query = step_.row(kUser, rows.user[b]);
            const std::int64_t* candidate = rows.candidate + b * many;
            for (std::int64_t k = 0; k < many; ++k) {
                if (b * many + k + kAhead < last) step_.reach_row(kItem, candidate[k + kAhead]);
                key[k] = hardness(step_.rate(query, candidate[k]), k);
            }
            hardest_first(key, many, rows.many);
            for (std::int64_t k = 0; k < rows.many; ++k)
                rows.negative[b * rows.many + k] = candidate[place_of(key[k])];
        }
    }

    Descent& descent_;
    Coast* coast_;
    Step<D> step_;
    const double lr_;
    const int parts_;
    Barrier barrier_;
    double total_ = 0;
};

}  // namespace negsieve
