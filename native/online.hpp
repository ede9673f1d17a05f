// Stochastic gradient descent a row at a time: every row reads what the row before it wrote.
//
// Rows that share no vector do not see each other, so such neighbours are rated and priced together and then moved: the
// numbers are those of one after the other. No gradient is stored. Whether rows share a vector is asked of a filter that
// may say yes too often, which only makes a group shorter. A row whose own items repeat is left to the general step.
#pragma once

#include "block.hpp"

namespace negsieve {

// Ids that a group has touched, by their low bits.
class Touches {
public:
    void clear() { std::fill_n(word_, kWords, 0); }
    void add(std::int64_t id) { word_[place(id)] |= bit(id); }
    bool has(std::int64_t id) const { return (word_[place(id)] & bit(id)) != 0; }
    bool has_any(const std::int64_t* id, std::int64_t many) const {
        std::uint64_t found = 0;
        for (std::int64_t k = 0; k < many; ++k) found |= word_[place(id[k])] & bit(id[k]);
        return found != 0;
    }

private:
    static constexpr int kWords = 64;
    static std::size_t place(std::int64_t id) { return static_cast<std::size_t>(id >> 6) % kWords; }
    static std::uint64_t bit(std::int64_t id) { return std::uint64_t{1} << (id & 63); }

    std::uint64_t word_[kWords];
};

template <int D>
class Online {
public:
    Online(Descent& descent, const Table& user, const Table& item, const PairLoss& loss, double lr, float l2,
           std::int64_t width, std::int64_t many)
        : descent_(descent), user_(user.row), item_(item.row), loss_(loss), lr_(static_cast<float>(lr)), l2_(l2),
          width_(D > 0 ? D : width), general_(descent, user, item, loss, lr, l2, width, 1),
          slope_(static_cast<std::size_t>(kPriced * many)), share_(slope_) {}

    // Does rows in turn until one is not finite; returns how many were done.
    std::int64_t run(const Rows& rows) {
        for (std::int64_t b = 0; b < rows.count;) {
            const std::int64_t end = rate_together(rows, b);
            if (end == b) {
                Rows one = rows.from(b, 1);
                one.candidate = nullptr;  // its negatives are chosen
                if (general_.run(1, 1, rows.many, [&](std::int64_t) { return one; }) == 0) return b;
                ++b;
                continue;
            }
            const Scores from = {rows.positive, rows.rated, rows.weight, rows.keep, rows.many};
            price_rows(loss_, from, {rows.value, rows.slope, slope_.data() - b * rows.many}, b, end);
            for (; b < end; ++b) {
                if (!std::isfinite(rows.value[b] + l2_ * rows.penalty[b])) return b;
                move(rows, b, (b - (end - group_)) * rows.many);
                ++descent_.step;
            }
        }
        return rows.count;
    }

private:
    static constexpr std::int64_t kSoon = 8;  // rows between asking for vectors and reading them

    float* user(std::int64_t id) const { return user_ + id * width_; }
    float* item(std::int64_t id) const { return item_ + id * width_; }

    // Chooses for and rates rows from b on that share no vector; returns where they end, b where b's own items repeat.
    std::int64_t rate_together(const Rows& rows, std::int64_t b) {
        users_.clear();
        items_.clear();
        const bool chosen = rows.candidate != nullptr;
        const std::int64_t last = std::min(rows.count, b + kPriced), many = rows.many;
        std::int64_t row = b;
        for (; row < last; ++row) {
            ask(rows, row + kSoon);
            const std::int64_t* read = chosen ? rows.candidate + row * rows.candidates : rows.negative + row * many;
            if (row > b && (users_.has(rows.user[row]) || items_.has(rows.item[row]) ||
                            items_.has_any(read, chosen ? rows.candidates : many)))
                break;
            if (chosen) choose(rows, row);
            if (repeats(rows, row)) break;
            users_.add(rows.user[row]);
            items_.add(rows.item[row]);
            for (std::int64_t at = row * many; at < (row + 1) * many; ++at) items_.add(rows.negative[at]);
            rate(rows, row, share_.data() + (row - b) * many);
        }
        group_ = row - b;
        return row;
    }

    [[gnu::always_inline]] void ask(const Rows& rows, std::int64_t b) const {
        if (b >= rows.count) return;
        prefetch_row(user(rows.user[b]), width_);
        prefetch_row(item(rows.item[b]), width_);
        if (rows.candidate != nullptr) return;
        for (std::int64_t at = b * rows.many; at < (b + 1) * rows.many; ++at) prefetch_row(item(rows.negative[at]), width_);
    }

    void choose(const Rows& rows, std::int64_t b) {
        const std::int64_t* candidate = rows.candidate + b * rows.candidates;
        const std::int64_t left = (rows.count - b) * rows.candidates;
        const float* query = user(rows.user[b]);
        for (std::int64_t k = 0; k < rows.candidates; ++k) {
            if (k + kAhead < left) prefetch_row(item(candidate[k + kAhead]), width_);
            key_[k] = hardness(dot<D>(query, item(candidate[k]), width_), k);
        }
        hardest_first(key_, rows.candidates, rows.many);
        for (std::int64_t k = 0; k < rows.many; ++k) rows.negative[b * rows.many + k] = candidate[place_of(key_[k])];
    }

    static bool repeats(const Rows& rows, std::int64_t b) {
        const std::int64_t* negative = rows.negative + b * rows.many;
        bool found = false;
        for (std::int64_t k = 0; k < rows.many; ++k) {
            found |= negative[k] == rows.item[b];
            for (std::int64_t other = 0; other < k; ++other) found |= negative[k] == negative[other];
        }
        return found;
    }

    // Scores and the penalty.
    void rate(const Rows& rows, std::int64_t b, float* share) const {
        const float *u = user(rows.user[b]), *i = item(rows.item[b]);
        penalty_shares(rows, b, share);
        rows.positive[b] = dot<D>(u, i, width_);
        float penalty = dot<D>(u, u, width_) + dot<D>(i, i, width_);
        for (std::int64_t k = 0; k < rows.many; ++k) {
            const float* j = item(rows.negative[b * rows.many + k]);
            rows.rated[b * rows.many + k] = dot<D>(u, j, width_);
            penalty += share[k] * dot<D>(j, j, width_);
        }
        rows.penalty[b] = 0.5f * penalty;
    }

    // All vectors of a row, whose items differ: each one's new value is made of the old values of the others.
    void move(const Rows& rows, std::int64_t b, std::int64_t place) const {
        const float *slope = slope_.data() + place, *share = share_.data() + place, own = rows.slope[b];
        float *u = user(rows.user[b]), *i = item(rows.item[b]);
        if (rows.many == 1) return move(u, i, item(rows.negative[b]), own, slope[0], share[0], lr_, l2_, width_);
        const std::int64_t n = D > 0 ? D : width_, many = rows.many;
        for (std::int64_t at = 0; at < n; ++at) {
            const float x = u[at], y = i[at];
            float sum = own * y + l2_ * x;
            i[at] = y - lr_ * (own * x + l2_ * y);
            for (std::int64_t k = 0; k < many; ++k) {
                float* j = item(rows.negative[b * many + k]);
                const float z = j[at];
                sum += slope[k] * z;
                j[at] = z - lr_ * (slope[k] * x + l2_ * share[k] * z);
            }
            u[at] = x - lr_ * sum;
        }
    }

    static void move(float* __restrict u, float* __restrict i, float* __restrict j, float own, float other, float share,
                     float lr, float l2, std::int64_t width) {
        const std::int64_t n = D > 0 ? D : width;
        for (std::int64_t at = 0; at < n; ++at) {
            const float x = u[at], y = i[at], z = j[at];
            u[at] = x - lr * (own * y + other * z + l2 * x);
            i[at] = y - lr * (own * x + l2 * y);
            j[at] = z - lr * (other * x + l2 * share * z);
        }
    }

    Descent& descent_;
    float *user_, *item_;
    PairLoss loss_;
    float lr_, l2_;
    std::int64_t width_;
    Block<D> general_;
    Touches users_, items_;
    std::int64_t group_ = 0;
    std::vector<float> slope_, share_;  // [16, K] of a group
    std::int64_t key_[kMostCandidates];
};

}  // namespace negsieve
