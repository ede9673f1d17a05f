// Many steps of matrix factorisation in one go: draw, choose, step, with the threads meeting between the parts.
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

// What a block of steps draws by: see hardest.hpp.
struct Draws {
    const std::int64_t* offset;  // [U + 1]
    const std::int32_t* seen;
    const std::uint64_t* key;   // a step
    std::int64_t candidates;    // H of which the hardest are chosen; 0: negatives are draws, as they come
};

// Steps in turn, all threads through each together.
template <int D>
class Block {
public:
    Block(Descent& descent, const Table& user, const Table& item, const PairLoss& loss, double lr, float l2,
          std::int64_t width, int parts)
        : descent_(descent), coast_(descent.lazy() ? &descent.coast : nullptr),
          step_(descent.space, coast_, user, item, loss, l2, width, parts), lr_(lr), n_items_(item.n), parts_(parts),
          barrier_(parts) {}

    // Does steps until one is not finite; returns how many were done. of(s) are step s's rows.
    template <class Of>
    std::int64_t run(std::int64_t steps, std::int64_t largest, std::int64_t many, const Of& of,
                     const Draws* draws) {
        step_.prepare(largest, many);
        if (draws != nullptr) descent_.space.drawn.need(largest * draws->candidates + kAhead);
        if (coast_ != nullptr) coast_->look_back();
        std::int64_t done = 0;
        Pool::shared().run(parts_, [&](int part) {
            for (std::int64_t s = 0; s < steps; ++s) {
                const Rows rows = of(s);
                const Unseen unseen = draws == nullptr ? Unseen{} : Unseen{draws->offset, draws->seen, n_items_, draws->key[s]};
                const std::int64_t candidates = draws == nullptr ? 0 : draws->candidates;
                parts_ == 1 ? alone(rows, unseen, candidates) : together(rows, unseen, candidates, part);
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

    void alone(const Rows& rows, const Unseen& unseen, std::int64_t candidates) {
        if (rows.sample != nullptr) draw(rows, unseen, candidates, 0, rows.count);
        for (std::int64_t begin = 0; begin < rows.count; begin += kChunk) {
            const std::int64_t end = std::min(begin + kChunk, rows.count);
            step_.claim_pairs(rows, 0, begin, end);
            if (candidates > 0) {
                wake(rows, candidates, 0, begin, end);
                choose(rows, candidates, begin, end);
            }
            step_.claim_negatives(rows, 0, begin, end);
            step_.price(rows, begin, end);
            step_.gather(rows, 0, begin, end);
        }
    }

    void together(const Rows& rows, const Unseen& unseen, std::int64_t candidates, int part) {
        const std::int64_t blocks = (rows.count + kPriced - 1) / kPriced;
        const std::int64_t begin = std::min(rows.count, blocks * part / parts_ * kPriced);
        const std::int64_t end = std::min(rows.count, blocks * (part + 1) / parts_ * kPriced);
        if (rows.sample != nullptr) draw(rows, unseen, candidates, begin, end);
        step_.claim_pairs(rows, part, 0, rows.count);
        barrier_.wait();
        if (candidates > 0) {
            wake(rows, candidates, part, 0, rows.count);
            barrier_.wait();
            choose(rows, candidates, begin, end);
            barrier_.wait();
        }
        step_.claim_negatives(rows, part, 0, rows.count);
        barrier_.wait();
        step_.price(rows, begin, end);
        barrier_.wait();
        step_.gather(rows, part, 0, rows.count);
    }

    void draw(const Rows& rows, const Unseen& unseen, std::int64_t candidates, std::int64_t begin, std::int64_t end) {
        constexpr std::int64_t kRowsAhead = 8;
        const std::int64_t many = candidates > 0 ? candidates : rows.many;
        for (std::int64_t b = begin; b < end; ++b) {
            if (b + kRowsAhead < rows.count) prefetch(unseen.row(rows.user[b + kRowsAhead]));
            const std::uint64_t start = stream(unseen.key, static_cast<std::uint64_t>(rows.sample[b]));
            const Row seen = unseen.row(rows.user[b]);
            if (rows.keep != nullptr)  // who has seen everything gets no negative
                std::fill_n(rows.keep + b * rows.many, rows.many, seen.size() < unseen.n_items);
            for (std::int64_t k = 0; k < many; ++k) {
                const std::int32_t item = draw_unseen(start, static_cast<std::uint64_t>(k), seen, unseen.n_items);
                if (candidates > 0)
                    descent_.space.drawn.data()[b * many + k] = item;
                else
                    rows.negative[b * many + k] = item;
            }
        }
    }

    void wake(const Rows& rows, std::int64_t candidates, int part, std::int64_t begin, std::int64_t end) {
        if (coast_ == nullptr) return;
        const std::int32_t* drawn = descent_.space.drawn.data();
        for (std::int64_t at = begin * candidates; at < end * candidates; ++at) {
            if (at + kAhead < rows.count * candidates) step_.reach_for(kItem, drawn[at + kAhead]);
            if (step_.owns(drawn[at], part)) step_.wake(kItem, drawn[at]);
        }
    }

    void choose(const Rows& rows, std::int64_t many, std::int64_t begin, std::int64_t end) {
        std::int64_t key[kMostCandidates];
        for (std::int64_t b = begin; b < end; ++b) {
            const float* query = step_.row(kUser, rows.user[b]);
            const std::int32_t* candidate = descent_.space.drawn.data() + b * many;
            for (std::int64_t k = 0; k < many; ++k) {
                if (b * many + k + kAhead < rows.count * many) step_.reach_row(kItem, candidate[k + kAhead]);
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
    const std::int64_t n_items_;
    const int parts_;
    Barrier barrier_;
    double total_ = 0;
};

}  // namespace negsieve
