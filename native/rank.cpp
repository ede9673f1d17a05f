// The best k items of every user. Twin: negsieve/kernels/rank.py.
//
// `top_dots` multiplies users by items itself: a score never leaves the registers unless it may be among the best,
// and its bits are one chain of multiply-adds over the width, whatever the block, the threads or the neighbours.
#include "arrays.hpp"
#include "best.hpp"
#include "lanes.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr int kUsers = 6;            // rows of a register block: 6 x 2 accumulators leave registers for the operands
constexpr int kVectors = 2 * kUsers;  // its accumulators
constexpr int kItems = 2 * kLanes;   // its columns, and the width of a panel of items
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

typedef Lanes Block[kUsers][2];

// block[u] = the scores of kUsers users, packed [width, kUsers], for a panel of items
inline void rate(const float* users, const float* panel, std::int64_t width, Block& block) {
    Block sum = {};  // of its own, so that it stays in registers
    for (std::int64_t d = 0; d < width; ++d) {
        const Lanes left = load(panel + d * kItems), right = load(panel + d * kItems + kLanes);
        for (int u = 0; u < kUsers; ++u) {
            const float side = users[d * kUsers + u];
            sum[u][0] += side * left;
            sum[u][1] += side * right;
        }
    }
    for (int u = 0; u < kUsers; ++u)
        for (int side = 0; side < 2; ++side) block[u][side] = sum[u][side];
}

struct Catalogue {
    const float *panels, *sample;
    const std::int32_t *item, *place;  // an item of each column; where each item stands in the sample, or -1
    std::int64_t columns, width, sampled;
};

struct Excluded {
    const std::int64_t *offset, *item;
};

// Ranks a block of users of one thread.
class Ranker {
public:
    // k is at most the number of columns.
    Ranker(const Catalogue& catalogue, const float* query, const Excluded& excluded, std::int64_t k, std::int64_t rows)
        : catalogue_(catalogue), query_(query), excluded_(excluded), candidates_(rows, k),
          rank_(sample_rank(k, catalogue.columns, catalogue.sampled)), cursor_(rows), broken_(rows) {}

    // The users of `row`, first with a guessed threshold; those who find fewer than k above it, again without.
    void run(const std::vector<std::int64_t>& row, bool guessing, std::int64_t k, std::int64_t* item, float* score,
             bool* broken) {
        start(row, guessing);
        const std::int64_t strips = (rows_ + kUsers - 1) / kUsers;
        const std::int64_t panels = (catalogue_.columns + kItems - 1) / kItems;
        const std::int64_t step = std::max<std::int64_t>(
            8, kTile / static_cast<std::int64_t>(sizeof(float) * kItems * std::max<std::int64_t>(1, catalogue_.width)));
        for (std::int64_t first = 0; first < panels; first += step)
            for (std::int64_t strip = 0; strip < strips; ++strip) scan(strip, first, std::min(panels, first + step));
        std::vector<std::int64_t> again;
        for (std::int64_t own = 0; own < rows_; ++own) {
            if (guessing && !candidates_.full(own) && !broken_[own]) {
                again.push_back(row[own]);
                continue;
            }
            candidates_.finish(own, k, item + row[own] * k, score + row[own] * k);
            broken[row[own]] = broken_[own];
        }
        if (!again.empty()) run(again, false, k, item, score, broken);
    }

private:
    void start(const std::vector<std::int64_t>& row, bool guessing) {
        rows_ = static_cast<std::int64_t>(row.size());
        const std::int64_t strips = (rows_ + kUsers - 1) / kUsers, width = catalogue_.width;
        packed_.assign(static_cast<std::size_t>(strips * width * kUsers), 0.0f);
        least_.assign(static_cast<std::size_t>(strips * kUsers), std::numeric_limits<float>::infinity());
        row_ = row.data();
        out_.clear();
        for (const std::int64_t one : row) {
            out_.insert(out_.end(), excluded_.item + excluded_.offset[one], excluded_.item + excluded_.offset[one + 1]);
            out_.push_back(std::numeric_limits<std::int32_t>::max());
        }
        const std::int32_t* at = out_.data();
        for (std::int64_t own = 0; own < rows_; ++own) {
            float* to = packed_.data() + own / kUsers * width * kUsers + own % kUsers;
            for (std::int64_t d = 0; d < width; ++d) to[d * kUsers] = query_[row[own] * width + d];
            cursor_[own] = at;
            at += excluded_.offset[row[own] + 1] - excluded_.offset[row[own]] + 1;
            broken_[own] = false;
            candidates_.clear(own, kLowest);
        }
        for (std::int64_t strip = 0; guessing && strip < strips; ++strip) guess_thresholds(strip);
        for (std::int64_t own = 0; own < rows_; ++own) least_[own] = candidates_.least(own);
    }

    void guess_thresholds(std::int64_t strip) {
        const std::int64_t size = catalogue_.sampled;
        sample_.resize(static_cast<std::size_t>(kUsers * size));
        Block block;
        for (std::int64_t panel = 0; panel < size / kItems; ++panel) {
            rate(users(strip), catalogue_.sample + panel * catalogue_.width * kItems, catalogue_.width, block);
            for (int u = 0; u < kUsers; ++u)
                for (int side = 0; side < 2; ++side)
                    store(sample_.data() + u * size + panel * kItems + side * kLanes, block[u][side]);
        }
        for (int u = 0; u < kUsers && strip * kUsers + u < rows_; ++u) {
            float* own = sample_.data() + u * size;
            const std::int64_t row = strip * kUsers + u;
            for (std::int64_t i = excluded_.offset[row_[row]]; i < excluded_.offset[row_[row] + 1]; ++i) {
                const std::int32_t place = catalogue_.place[excluded_.item[i]];
                if (place >= 0) own[packed(place)] = -std::numeric_limits<float>::infinity();
            }
            candidates_.clear(row, guess(own, size, rank_));
        }
    }

    void scan(std::int64_t strip, std::int64_t first, std::int64_t last) {
        Block block;
        const float* least = least_.data() + strip * kUsers;
        for (std::int64_t panel = first; panel < last; ++panel) {
            rate(users(strip), catalogue_.panels + panel * catalogue_.width * kItems, catalogue_.width, block);
            Marks below = (block[0][0] < least[0]) & (block[0][1] < least[0]);  // false for NaN, which must be seen
            for (int u = 1; u < kUsers; ++u) below &= (block[u][0] < least[u]) & (block[u][1] < least[u]);
            if (bits(~below)) keep(strip, panel, block);
        }
    }

    // One bit a score that may matter, lane by lane, so that the items of each user come in ascending order.
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

    void offer(std::int64_t row, std::int64_t column, float score) {
        if (column >= catalogue_.columns || row >= rows_) return;
        const std::int32_t item = catalogue_.item[column];
        const std::int32_t*& cursor = cursor_[row];
        while (*cursor < item) ++cursor;
        if (*cursor == item) return;
        if (score != score) {
            broken_[row] = true;
        } else if (candidates_.offer(row, score, static_cast<std::uint32_t>(item))) {
            least_[row] = candidates_.least(row);
        }
    }

    const float* users(std::int64_t strip) const { return packed_.data() + strip * catalogue_.width * kUsers; }

    const Catalogue& catalogue_;
    const float* query_;
    const Excluded& excluded_;
    Candidates candidates_;
    std::int64_t rank_, rows_ = 0;
    const std::int64_t* row_ = nullptr;
    std::vector<float> packed_, least_, sample_;
    std::vector<std::int32_t> out_;  // the excluded items of each row, and an end that no item reaches
    std::vector<const std::int32_t*> cursor_;
    std::vector<char> broken_;
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
    bool inside = true, ascends = true;
    for (std::int64_t i = 0; i < at[rows]; ++i) inside &= (0 <= own[i]) & (own[i] < items);
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t i = at[row] + 1; i < at[row + 1]; ++i) ascends &= own[i - 1] <= own[i];
    want(inside, "top_dots: excluded holds an item out of range");
    want(ascends, "top_dots: the excluded items of a row must ascend");
}

// item, score [n, k]: the best k of the catalogue for each query; broken [n]: whether one of its scores is NaN
static void top_dots(In<float, 2> query, In<float, 3> panels, In<float, 3> sample, In<std::int32_t, 1> column,
                     In<std::int32_t, 1> place, In<std::int64_t, 1> offset, In<std::int64_t, 1> excluded,
                     Out<std::int64_t, 2> item, Out<float, 2> score, Out<bool, 1> broken, int threads) {
    const std::int64_t rows = query.shape(0), width = query.shape(1), k = item.shape(1), n = column.shape(0);
    const std::int64_t items = place.shape(0), sampled = sample.shape(0) * kItems;
    check_lists("top_dots: item, score and broken need a row a query", rows, item, score, broken);
    want(static_cast<std::int64_t>(panels.shape(0)) == (n + kItems - 1) / kItems && panels.shape(2) == kItems &&
             static_cast<std::int64_t>(panels.shape(1)) == width,
         "top_dots: the panels do not fit the query's width or the number of columns");
    want(sampled == 0 || (sample.shape(2) == kItems && static_cast<std::int64_t>(sample.shape(1)) == width),
         "top_dots: the sample's panels do not fit the query's width");
    const std::int32_t* columns = column.data();
    bool ascends = n == 0 || (columns[0] >= 0 && columns[n - 1] < items);
    for (std::int64_t i = 1; i < n; ++i) ascends &= columns[i - 1] < columns[i];
    want(ascends, "top_dots: the items of the columns must ascend and be in range");
    const std::int32_t* places = place.data();
    std::int32_t last = -1;
    for (std::int64_t i = 0; i < items; ++i) last = std::max(last, places[i]);
    want(last < sampled, "top_dots: a place outside the sample");
    check_excluded(offset, excluded, rows, items);
    const Catalogue catalogue{panels.data(), sample.data(), columns, places, n, width, sampled};
    const Excluded out{offset.data(), excluded.data()};
    const float* queries = query.data();
    std::int64_t* items_out = item.data();
    float* scores_out = score.data();
    bool* broken_out = broken.data();
    nb::gil_scoped_release free;
    const std::int64_t fit = std::min(k, std::max<std::int64_t>(n, 1));
    const bool guessing = worth_guessing(fit, n, sampled);
    const std::int64_t most =
        std::clamp<std::int64_t>(kBlock / Candidates::bytes(fit) / kUsers, 1, 42) * kUsers;
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
        Candidates best(1, fit);
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
    m.def("top_dots", &top_dots, "query"_a, "panels"_a, "sample"_a, "column"_a, "place"_a, "offset"_a, "excluded"_a,
          "item"_a, "score"_a, "broken"_a, "threads"_a);
    m.def("top_rows", &top_rows, "scores"_a, "item"_a, "score"_a, "broken"_a, "threads"_a);
}

}  // namespace negsieve
