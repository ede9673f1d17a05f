// One step of matrix factorisation: scores, losses, gradients from the old rows, then one update of each touched row.
//
// A thread owns rows by their number: it alone sums their gradients, in the order of the batch, and moves them. So the
// bits are those of one thread, whatever the number. Gradients stand in a buffer of the touched rows alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "barrier.hpp"
#include "coast.hpp"
#include "dot.hpp"
#include "gather.hpp"
#include "loss.hpp"
#include "rule.hpp"

namespace negsieve {

// Room that only grows, left as it is.
template <class T>
class Room {
public:
    T* data() { return at_.get(); }
    T* need(std::int64_t n) {
        if (n > size_) {
            at_.reset(new T[static_cast<std::size_t>(n)]);
            size_ = n;
        }
        return at_.get();
    }

private:
    std::unique_ptr<T[]> at_;
    std::int64_t size_ = 0;
};

// The rows of one table that one thread owns and this step touches.
struct Touched {
    Room<std::int64_t> id;
    Room<float> gradient, pull;
    std::int64_t count = 0;

    void need(std::int64_t rows, std::int64_t width) {
        id.need(rows);
        gradient.need(rows * width);
        pull.need(rows);
        count = 0;
    }
};

// What steps keep between calls, so that none has to allocate: for each row its place among the touched, else -1.
struct Workspace {
    Workspace(std::int64_t n_users, std::int64_t n_items) : slot{std::vector<std::int32_t>(n_users, -1),
                                                                 std::vector<std::int32_t>(n_items, -1)} {}

    std::vector<std::int32_t> slot[2];
    std::vector<Touched> touched[2];  // a thread each
    Room<float> part;                 // [B, K] each negative's share of the penalty
    Room<float> slope;                // [B, K] of the loss by the negative's score
};

enum Side : int { kUser = 0, kItem = 1 };

template <int D>
class Step {
public:
    Step(Workspace& space, Coast* coast, const Table& user, const Table& item, const PairLoss& loss, float l2,
         std::int64_t width, int parts)
        : space_(space), coast_(coast), table_{user, item}, loss_(loss), l2_(l2), width_(D > 0 ? D : width),
          parts_(parts), owner_(parts) {}

    void prepare(std::int64_t rows, std::int64_t many) {
        for (int side : {kUser, kItem}) {
            const std::int64_t most = std::min(table_[side].n, side == kUser ? rows : rows * (1 + many));
            if (static_cast<int>(space_.touched[side].size()) < parts_) space_.touched[side].resize(parts_);
            for (int part = 0; part < parts_; ++part) space_.touched[side][part].need(most, width_);
        }
        space_.part.need(rows * many);
        space_.slope.need(rows * many);
    }

    bool owns(std::int64_t row, int part) const { return owner_.of(row) == part; }

    [[gnu::always_inline]] void reach_row(Side side, std::int64_t row) const {
        prefetch_row(table_[side].row + row * width_, width_);
    }

    // Asks for a row, and for its moments where it has both.
    [[gnu::always_inline]] void reach_for(Side side, std::int64_t row) const {
        const Table& table = table_[side];
        reach_row(side, row);
        if (table.mean == nullptr) return;
        prefetch_row(table.mean + row * width_, width_);
        prefetch_row(table.square + row * width_, width_);
    }

    // Brings a row to the present, before it is read.
    void wake(Side side, std::int64_t row) {
        if (coast_ == nullptr) return;
        const Table& table = table_[side];
        const auto now = static_cast<std::int32_t>(coast_->step());
        std::int32_t& clock = table.clock[row];
        if (clock <= 0 || clock >= now) return;  // a row that was never touched has nothing to catch up with
        const std::int64_t at = row * width_;
        coast_->template move<D>(table.row + at, table.mean + at, table.square + at, clock, width_);
        clock = now;
    }

    // The same for all of some rows that this part owns, or for the whole table.
    void wake_all(const std::int64_t* id, std::int64_t many, int part) {
        for (std::int64_t at = 0; at < many; ++at) {
            const std::int64_t row = id == nullptr ? at : id[at];
            if (id != nullptr && at + kSoon < many) reach_for(kUser, id[at + kSoon]);
            if (owns(row, part)) wake(kUser, row);
        }
    }

    // Gives the pairs' rows that this part owns a place, and wakes them.
    void claim_pairs(const Rows& rows, int part, std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
            if (coast_ != nullptr && b + kSoon < rows.count) {
                reach_for(kUser, rows.user[b + kSoon]);
                reach_for(kItem, rows.item[b + kSoon]);
            }
            claim(kUser, rows.user[b], part);
            claim(kItem, rows.item[b], part);
        }
    }

    void claim_negatives(const Rows& rows, int part, std::int64_t begin, std::int64_t end) {
        const std::int64_t known = (rows.candidate == nullptr ? rows.count : end) * rows.many;
        for (std::int64_t at = begin * rows.many; at < end * rows.many; ++at) {
            if (coast_ != nullptr && at + kSoon < known) reach_for(kItem, rows.negative[at + kSoon]);
            claim(kItem, rows.negative[at], part);
        }
    }

    // Scores, losses, slopes and penalties; begin is a multiple of kPriced.
    void price(const Rows& rows, std::int64_t begin, std::int64_t end) {
        const std::int64_t many = rows.many;
        const std::int64_t known = rows.candidate == nullptr ? rows.count : end;  // rows beyond have not chosen yet
        float* part = space_.part.data();
        for (std::int64_t b = begin; b < end; ++b) {
            if (coast_ == nullptr && b + kSoon < rows.count) {
                reach_row(kUser, rows.user[b + kSoon]);
                reach_row(kItem, rows.item[b + kSoon]);
                for (std::int64_t k = 0; k < many && b + kSoon < known; ++k)
                    reach_row(kItem, rows.negative[(b + kSoon) * many + k]);
            }
            const float *u = row(kUser, rows.user[b]), *i = row(kItem, rows.item[b]);
            rows.positive[b] = dot<D>(u, i, width_);
            penalty_shares(rows, b, part + b * many);
            float lane[kLanes] = {};
            add_squares(lane, u, 1.0f);
            add_squares(lane, i, 1.0f);
            for (std::int64_t at = b * many; at < (b + 1) * many; ++at) {
                const float* j = row(kItem, rows.negative[at]);
                rows.rated[at] = dot<D>(u, j, width_);
                add_squares(lane, j, part[at]);
            }
            rows.penalty[b] = 0.5f * folded(lane);
        }
        const Scores from = {rows.positive, rows.rated, rows.weight, rows.keep, many};
        price_rows(loss_, from, {rows.value, rows.slope, space_.slope.data()}, begin, end);
    }

    // Adds the gradients of the rows that this part owns.
    void gather(const Rows& rows, int part, std::int64_t begin, std::int64_t end) {
        const auto sums = [&](Side side) {
            Touched& touched = space_.touched[side][part];
            return Sums{table_[side].row, space_.slot[side].data(), touched.gradient.data(), touched.pull.data()};
        };
        add_gradients(rows, sums(kUser), sums(kItem), space_.part.data(), space_.slope.data(), width_, owner_, part, begin,
                      end);
    }

    // Mean loss and l2 times mean penalty.
    double total(const Rows& rows) const {
        double value = 0, penalty = 0;
        for (std::int64_t b = 0; b < rows.count; ++b) {
            value += rows.value[b];
            penalty += rows.penalty[b];
        }
        return (value + static_cast<double>(l2_) * penalty) / static_cast<double>(std::max<std::int64_t>(1, rows.count));
    }

    // Moves the touched rows that this part owns, unless the step is refused; either way their places are free again.
    void update(const Rows& rows, const Pace& pace, int part, bool refused) {
        for (Side side : {kUser, kItem}) {
            if (!refused) move(side, pace, part, l2_ / static_cast<float>(rows.count));
            Touched& touched = space_.touched[side][part];
            for (std::int64_t at = 0; at < touched.count; ++at) space_.slot[side][touched.id.data()[at]] = -1;
            touched.count = 0;
        }
    }

    float rate(const float* query, std::int64_t item) const { return dot<D>(query, row(kItem, item), width_); }
    const float* row(Side side, std::int64_t id) const { return table_[side].row + id * width_; }

private:
    static constexpr std::int64_t kSoon = 24;  // rows between asking for one and reading it

    void claim(Side side, std::int64_t id, int part) {
        if (!owns(id, part)) return;
        std::int32_t& slot = space_.slot[side][id];
        if (slot >= 0) return;
        Touched& touched = space_.touched[side][part];
        slot = static_cast<std::int32_t>(touched.count);
        touched.id.data()[touched.count] = id;
        touched.pull.data()[touched.count] = 0.0f;
        std::fill_n(touched.gradient.data() + touched.count * width_, width_, 0.0f);
        ++touched.count;
        wake(side, id);
    }

    void add_squares(float* lane, const float* one, float factor) const {
        const std::int64_t n = D > 0 ? D : width_;
        std::int64_t at = 0;
        for (; at + kLanes <= n; at += kLanes)
            for (int l = 0; l < kLanes; ++l) lane[l] += factor * one[at + l] * one[at + l];
        for (int l = 0; at + l < n; ++l) lane[l] += factor * one[at + l] * one[at + l];
    }

    void move(Side side, const Pace& pace, int part, float l2) {
        switch (pace.kind) {
            case RuleKind::sgd: return move<RuleKind::sgd>(side, pace, part, l2);
            case RuleKind::adagrad: return move<RuleKind::adagrad>(side, pace, part, l2);
            case RuleKind::rowwise_adagrad: return move<RuleKind::rowwise_adagrad>(side, pace, part, l2);
            case RuleKind::sparse_adam: return move<RuleKind::sparse_adam>(side, pace, part, l2);
            case RuleKind::adam: return move<RuleKind::adam>(side, pace, part, l2);
        }
    }

    template <RuleKind Kind>
    void move(Side side, const Pace& pace, int part, float l2) {
        Touched& touched = space_.touched[side][part];
        const Table& table = table_[side];
        const std::int64_t* id = touched.id.data();
        for (std::int64_t at = 0; at < touched.count; ++at) {
            if (at + kSoon < touched.count) reach_for(side, id[at + kSoon]);
            step_row<Kind, D>(pace, table, id[at], touched.gradient.data() + at * width_, l2 * touched.pull.data()[at],
                              width_);
            if (Kind == RuleKind::adam) table.clock[id[at]] = static_cast<std::int32_t>(coast_->step() + 1);
        }
    }

    Workspace& space_;
    Coast* coast_;
    Table table_[2];
    PairLoss loss_;
    float l2_;
    std::int64_t width_;
    int parts_;
    Owner owner_;
};

}  // namespace negsieve
