// The best k items of every user. Twin: negsieve/kernels/rank.py.
//
// `top_dots` multiplies users by items itself: a score never leaves the registers unless it may be among the best,
// and its bits are one chain of multiply-adds over the width, whatever the block, the threads or the neighbours.
// Items come by descending norm, and a user is done with them when norms alone show that none can reach the list.
#include "arrays.hpp"
#include "best.hpp"
#include "panel.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr std::int64_t kTile = 1 << 18;   // bytes of panels that stay in L2 while a block of users passes over them
constexpr std::int64_t kBlock = 1 << 24;  // bytes of candidates of a block of users

// Where the floats of a panel's columns stand: even ones first, so that a block read lane by lane is in order.
inline std::int64_t packed(std::int64_t column) {
    const std::int64_t own = column % kItems;
    return column - own + own % 2 * kLanes + own / 2;
}

// panels[p, d, :] = entry d of kItems rows of the table, packed; zero beyond the last row
static void pack(In<float, 2> table, Out<float, 3> panels, int threads) {
    const std::int64_t n = table.shape(0), width = table.shape(1), many = panels.shape(0);
    want(many == (n + kItems - 1) / kItems && static_cast<std::int64_t>(panels.shape(1)) == width &&
             panels.shape(2) == kItems,
         "pack_items: wanted panels of ceil(rows / columns) x width x columns");
    const float* from = table.data();
    float* to = panels.data();
    nb::gil_scoped_release free;
    parallel(threads, many, 64, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t panel = begin; panel < end; ++panel)
            for (std::int64_t column = 0; column < kItems; ++column) {
                const std::int64_t row = panel * kItems + column;
                float* lane = to + panel * width * kItems + packed(column);
                for (std::int64_t d = 0; d < width; ++d) lane[d * kItems] = row < n ? from[row * width + d] : 0.0f;
            }
    });
}

struct Catalogue {
    const float *panels, *sample;
    const double* bound;               // the greatest norm of each panel's items; it descends
    const std::int32_t *item, *place;  // the item of each column; the column of each item, or -1
    std::int64_t columns, width, sampled;

    // Where a column stands in the sample, which takes every so-many-th; or -1.
    std::int64_t sampled_at(std::int64_t column) const {
        const std::int64_t at = (column * sampled + columns - 1) / columns;
        return at < sampled && at * columns / sampled == column ? packed(at) : -1;
    }
};

struct Excluded {
    const std::int64_t *offset, *item;
};

// Ranks a block of users of one thread.
class Ranker {
public:
    // k is at most the number of columns.
    Ranker(const Catalogue& catalogue, const float* query, const Excluded& excluded, std::int64_t k, std::int64_t rows)
        : catalogue_(catalogue), query_(query), excluded_(excluded), candidates_(rows, k, false),
          rank_(sample_rank(k, catalogue.columns, catalogue.sampled)), rows_(rows) {}

    // The users of `row`, first with a guessed threshold; those who find fewer than k above it, again without.
    void run(std::vector<std::int64_t> row, bool guessing, std::int64_t k, std::int64_t* item, float* score,
             bool* broken) {
        start(row, guessing);
        const std::int64_t strips = (count_ + kUsers - 1) / kUsers;
        const std::int64_t panels = (catalogue_.columns + kItems - 1) / kItems;
        const std::int64_t step = std::max<std::int64_t>(
            8, kTile / static_cast<std::int64_t>(sizeof(float) * kItems * std::max<std::int64_t>(1, catalogue_.width)));
        bool more = true;
        for (std::int64_t first = 0; more && first < panels; first += step) {
            more = false;
            for (std::int64_t strip = 0; strip < strips; ++strip)
                more |= scan(strip, first, std::min(panels, first + step));
        }
        std::vector<std::int64_t> again;
        for (std::int64_t own = 0; own < count_; ++own) {
            if (guessing && !candidates_.full(own) && !rows_[own].broken) {
                again.push_back(row[own]);
                continue;
            }
            candidates_.finish(own, k, item + row[own] * k, score + row[own] * k);
            broken[row[own]] = rows_[own].broken;
        }
        if (!again.empty()) run(again, false, k, item, score, broken);
    }

private:
    struct Row {
        const std::int32_t* cursor;  // at the excluded columns that are still to come
        double reach;                // 1 over what an item's norm brings to a score at most
        bool broken;
    };

    // Packs the users, so that those whom the same norm may serve stand together, and clears their candidates.
    void start(std::vector<std::int64_t>& row, bool guessing) {
        count_ = static_cast<std::int64_t>(row.size());
        pack_users(row);
        std::vector<float> least(row.size(), kLowest);
        if (guessing) {
            for (std::int64_t strip = 0; strip * kUsers < count_; ++strip) guess_thresholds(strip, row, least.data());
            std::vector<std::pair<double, std::int64_t>> order(row.size());
            for (std::int64_t own = 0; own < count_; ++own)
                order[own] = {norm_needed(least[own], reach(row[own])), own};
            std::sort(order.begin(), order.end());
            const std::vector<std::int64_t> rows = row;
            const std::vector<float> guessed = least;
            for (std::int64_t own = 0; own < count_; ++own) {
                row[own] = rows[order[own].second];
                least[own] = guessed[order[own].second];
            }
            pack_users(row);
        }
        least_.assign(static_cast<std::size_t>((count_ + kUsers - 1) / kUsers * kUsers),
                      std::numeric_limits<float>::infinity());
        out_.clear();
        for (std::int64_t own = 0; own < count_; ++own) {
            candidates_.clear(own, least[own]);
            least_[own] = least[own];
            const std::int64_t first = static_cast<std::int64_t>(out_.size());
            for (std::int64_t i = excluded_.offset[row[own]]; i < excluded_.offset[row[own] + 1]; ++i)
                if (catalogue_.place[excluded_.item[i]] >= 0) out_.push_back(catalogue_.place[excluded_.item[i]]);
            std::sort(out_.begin() + first, out_.end());
            out_.push_back(std::numeric_limits<std::int32_t>::max());
        }
        const std::int32_t* at = out_.data();
        for (std::int64_t own = 0; own < count_; ++own) {
            rows_[own] = {at, reach(row[own]), false};
            while (*at++ != std::numeric_limits<std::int32_t>::max()) {}
        }
    }

    void pack_users(const std::vector<std::int64_t>& row) {
        const std::int64_t strips = (count_ + kUsers - 1) / kUsers, width = catalogue_.width;
        packed_.assign(static_cast<std::size_t>(strips * width * kUsers), 0.0f);
        for (std::int64_t own = 0; own < count_; ++own) {
            float* to = packed_.data() + own / kUsers * width * kUsers + own % kUsers;
            for (std::int64_t d = 0; d < width; ++d) to[d * kUsers] = query_[row[own] * width + d];
        }
    }

    // A score is at most the product of the norms, and what rounding adds: 1 over the user's share of it.
    double reach(std::int64_t row) const {
        double square = 0;
        for (std::int64_t d = 0; d < catalogue_.width; ++d) {
            const double one = query_[row * catalogue_.width + d];
            square += one * one;
        }
        return 1 / (std::sqrt(square) * (1 + 5e-7 * static_cast<double>(catalogue_.width + 8)));
    }

    // The least norm of an item that may score `least`; -inf where any may. A little off for sums of subnormals.
    static double norm_needed(float least, double reach) {
        const double norm = (static_cast<double>(least) - 1e-36) * reach;
        return norm < std::numeric_limits<double>::infinity() ? norm : -std::numeric_limits<double>::infinity();
    }

    void guess_thresholds(std::int64_t strip, const std::vector<std::int64_t>& row, float* least) {
        const std::int64_t size = catalogue_.sampled;
        sample_.resize(static_cast<std::size_t>(kUsers * size));
        Block block;
        for (std::int64_t panel = 0; panel < size / kItems; ++panel) {
            rate(users(strip), catalogue_.sample + panel * catalogue_.width * kItems, catalogue_.width, block);
            for (int u = 0; u < kUsers; ++u)
                for (int side = 0; side < 2; ++side)
                    store(sample_.data() + u * size + panel * kItems + side * kLanes, block[u][side]);
        }
        for (int u = 0; u < kUsers && strip * kUsers + u < count_; ++u) {
            float* own = sample_.data() + u * size;
            const std::int64_t user = row[strip * kUsers + u];
            for (std::int64_t i = excluded_.offset[user]; i < excluded_.offset[user + 1]; ++i) {
                const std::int32_t column = catalogue_.place[excluded_.item[i]];
                const std::int64_t at = column < 0 ? -1 : catalogue_.sampled_at(column);
                if (at >= 0) own[at] = -std::numeric_limits<float>::infinity();
            }
            least[strip * kUsers + u] = guess(own, size, rank_);
        }
    }

    // Whether later panels may still hold what one of the strip's users wants.
    bool scan(std::int64_t strip, std::int64_t first, std::int64_t last) {
        Block block;
        const float* least = least_.data() + strip * kUsers;
        double needed = std::numeric_limits<double>::infinity();
        for (std::int64_t own = strip * kUsers; own < std::min(count_, (strip + 1) * kUsers); ++own)
            needed = std::min(needed, norm_needed(least_[own], rows_[own].reach));
        for (std::int64_t panel = first; panel < last; ++panel) {
            if (catalogue_.bound[panel] < needed) return false;  // not where one of them is NaN
            rate(users(strip), catalogue_.panels + panel * catalogue_.width * kItems, catalogue_.width, block);
            Marks below = (block[0][0] < least[0]) & (block[0][1] < least[0]);  // false for NaN, which must be seen
            for (int u = 1; u < kUsers; ++u) below &= (block[u][0] < least[u]) & (block[u][1] < least[u]);
            if (bits(~below)) keep(strip, panel, block);
        }
        return true;
    }

    // One bit a score that may matter, lane by lane, so that the columns of each user come in ascending order.
    __attribute__((noinline)) void keep(std::int64_t strip, std::int64_t panel, const Block& block) {
        const float* least = least_.data() + strip * kUsers;
        Marks found = {};
        for (int u = 0; u < kUsers; ++u)
            for (int side = 0; side < 2; ++side) found |= ~(block[u][side] < least[u]) & (1 << (2 * u + side));
        std::uint64_t pair[kLanes / 2];  // two lanes each
        std::memcpy(pair, &found, sizeof pair);
        for (int first = 0; first < kLanes / 2; first += 2) {
            std::uint64_t word = joined(pair[first]) | joined(pair[first + 1]) << (2 * kVectors);
            for (; word; word &= word - 1) {
                const int bit = __builtin_ctzll(word), lane = 2 * first + bit / kVectors, vector = bit % kVectors;
                const int u = vector / 2, side = vector % 2;
                offer(strip * kUsers + u, panel * kItems + 2 * lane + side, block[u][side][lane]);
            }
        }
    }

    // The marks of two lanes side by side.
    static std::uint64_t joined(std::uint64_t pair) {
        return (pair | pair >> (32 - kVectors)) & ((1u << 2 * kVectors) - 1);
    }

    void offer(std::int64_t own, std::int64_t column, float score) {
        if (column >= catalogue_.columns || own >= count_) return;
        Row& row = rows_[own];
        while (*row.cursor < column) ++row.cursor;
        if (*row.cursor == column) return;
        if (score != score)
            row.broken = true;
        else if (candidates_.offer(own, score, static_cast<std::uint32_t>(catalogue_.item[column])))
            least_[own] = candidates_.least(own);
    }

    const float* users(std::int64_t strip) const { return packed_.data() + strip * catalogue_.width * kUsers; }

    const Catalogue& catalogue_;
    const float* query_;
    const Excluded& excluded_;
    Candidates candidates_;
    std::int64_t rank_, count_ = 0;
    std::vector<Row> rows_;
    std::vector<float> packed_, least_, sample_;
    std::vector<std::int32_t> out_;  // the excluded columns of each row, and an end that no column reaches
};

static void check_lists(const char* what, std::int64_t rows, Out<std::int64_t, 2> item, Out<float, 2> score,
                        Out<bool, 1> broken) {
    const auto is = [](std::size_t found, std::int64_t wanted) { return static_cast<std::int64_t>(found) == wanted; };
    want(item.shape(1) >= 1 && item.shape(1) == score.shape(1) && is(item.shape(0), rows) && is(score.shape(0), rows) &&
             is(broken.shape(0), rows),
         what);
}

static void check_excluded(In<std::int64_t, 1> offset, In<std::int64_t, 1> item, std::int64_t rows,
                           std::int64_t items) {
    want(static_cast<std::int64_t>(offset.shape(0)) == rows + 1, "top_dots: offset needs a row more than query");
    const std::int64_t* at = offset.data();
    const std::int64_t* own = item.data();
    want(at[0] == 0 && at[rows] == static_cast<std::int64_t>(item.shape(0)), "top_dots: offset must span excluded");
    for (std::int64_t row = 0; row < rows; ++row) want(at[row] <= at[row + 1], "top_dots: offset must ascend");
    bool inside = true;
    for (std::int64_t i = 0; i < at[rows]; ++i) inside &= (0 <= own[i]) & (own[i] < items);
    want(inside, "top_dots: excluded holds an item out of range");
}

// item, score [n, k]: the best k of the catalogue for each query; broken [n]: whether one of its scores is NaN
static void top_dots(In<float, 2> query, In<float, 3> panels, In<float, 3> sample, In<double, 1> bound,
                     In<std::int32_t, 1> column, In<std::int32_t, 1> place, In<std::int64_t, 1> offset,
                     In<std::int64_t, 1> excluded, Out<std::int64_t, 2> item, Out<float, 2> score,
                     Out<bool, 1> broken, int threads) {
    const std::int64_t rows = query.shape(0), width = query.shape(1), k = item.shape(1), n = column.shape(0);
    const std::int64_t items = place.shape(0), sampled = sample.shape(0) * kItems;
    check_lists("top_dots: item, score and broken need a row a query", rows, item, score, broken);
    want(static_cast<std::int64_t>(panels.shape(0)) == (n + kItems - 1) / kItems && panels.shape(2) == kItems &&
             static_cast<std::int64_t>(panels.shape(1)) == width && bound.shape(0) == panels.shape(0),
         "top_dots: the panels do not fit the query's width or the number of columns");
    want(sampled == 0 || (sample.shape(2) == kItems && static_cast<std::int64_t>(sample.shape(1)) == width),
         "top_dots: the sample's panels do not fit the query's width");
    const std::int32_t *columns = column.data(), *places = place.data();
    bool inside = true;
    for (std::int64_t i = 0; i < n; ++i) inside &= (0 <= columns[i]) & (columns[i] < items);
    for (std::int64_t i = 0; i < items; ++i) inside &= places[i] < n;
    want(inside, "top_dots: a column or a place out of range");
    check_excluded(offset, excluded, rows, items);
    const Catalogue catalogue{panels.data(), sample.data(), bound.data(), columns, places, n, width, sampled};
    const Excluded out{offset.data(), excluded.data()};
    const float* queries = query.data();
    std::int64_t* items_out = item.data();
    float* scores_out = score.data();
    bool* broken_out = broken.data();
    nb::gil_scoped_release free;
    const std::int64_t fit = std::min(k, std::max<std::int64_t>(n, 1));
    const bool guessing = worth_guessing(fit, n, sampled);
    const std::int64_t most =
        std::clamp<std::int64_t>(kBlock / Candidates::bytes(fit) / kUsers, 1, 43) * kUsers;
    parallel(threads, rows, kUsers, [&](std::int64_t begin, std::int64_t end) {
        Ranker ranker(catalogue, queries, out, fit, std::min(most, end - begin));
        std::vector<std::int64_t> row;
        for (std::int64_t first = begin; first < end; first += most) {
            row.clear();
            for (std::int64_t one = first; one < std::min(end, first + most); ++one) row.push_back(one);
            ranker.run(row, guessing, k, items_out, scores_out, broken_out);
        }
    });
}

// One row of scores that lie in memory.
static bool scan_row(const float* own, std::int64_t n, Candidates& best, float least) {
    constexpr std::int64_t step = 4 * kLanes;
    bool broken = false;
    best.clear(0, least);
    const auto offer = [&](std::int64_t at) {
        if (own[at] != own[at])
            broken = true;
        else
            best.offer(0, own[at], static_cast<std::uint32_t>(at));
    };
    std::int64_t at = 0;
    for (; at + step <= n; at += step) {
        Marks below = load(own + at) < least;
        for (int part = 1; part < 4; ++part) below &= load(own + at + part * kLanes) < least;
        if (!bits(~below)) continue;
        for (int part = 0; part < 4; ++part) {
            const std::int64_t first = at + part * kLanes;
            for (unsigned found = bits(~(load(own + first) < least)); found; found &= found - 1)
                offer(first + __builtin_ctz(found));
        }
        least = best.least(0);
    }
    for (; at < n; ++at)
        if (!(own[at] < best.least(0))) offer(at);
    return broken;
}

// item, score [n, k]: the best k of each row of scores, -inf never; broken [n]: whether the row holds NaN
static void top_rows(In<float, 2> scores, Out<std::int64_t, 2> item, Out<float, 2> score, Out<bool, 1> broken,
                     int threads) {
    const std::int64_t rows = scores.shape(0), n = scores.shape(1), k = item.shape(1);
    check_lists("top_rows: item, score and broken need a row a row of scores", rows, item, score, broken);
    want(n < (std::int64_t{1} << 32), "top_rows: more columns than 32 bits can number");
    const float* from = scores.data();
    std::int64_t* items_out = item.data();
    float* scores_out = score.data();
    bool* broken_out = broken.data();
    nb::gil_scoped_release free;
    parallel(threads, rows, 1, [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t fit = std::min(k, std::max<std::int64_t>(n, 1));
        Candidates best(1, fit, true);
        std::vector<float> sample(kSample);
        const bool guessing = worth_guessing(fit, n, kSample);
        for (std::int64_t row = begin; row < end; ++row) {
            const float* own = from + row * n;
            float least = kLowest;
            if (guessing) {
                for (std::int64_t i = 0; i < kSample; ++i) sample[i] = own[i * n / kSample];
                least = guess(sample.data(), kSample, sample_rank(fit, n, kSample));
            }
            broken_out[row] = scan_row(own, n, best, least);
            if (!best.full(0) && least > kLowest && !broken_out[row]) broken_out[row] = scan_row(own, n, best, kLowest);
            best.finish(0, k, items_out + row * k, scores_out + row * k);
        }
    });
}

void bind_rank(nb::module_& m) {
    using namespace nb::literals;
    m.attr("panel") = kItems;
    m.def("pack_items", &pack, "table"_a, "panels"_a, "threads"_a);
    m.def("top_dots", &top_dots, "query"_a, "panels"_a, "sample"_a, "bound"_a, "column"_a, "place"_a, "offset"_a,
          "excluded"_a, "item"_a, "score"_a, "broken"_a, "threads"_a);
    m.def("top_rows", &top_rows, "scores"_a, "item"_a, "score"_a, "broken"_a, "threads"_a);
}

}  // namespace negsieve
