// Which of a user's candidates hold given ranks among those that a filter keeps. Twin: negsieve/kernels/kept.py.
//
// Rows of one user ask about the same candidates: a vector is read once for all of them.
#include <numeric>
#include <optional>

#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "hardest.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr float kLeast = std::numeric_limits<float>::lowest();  // of what is kept: -inf is for what is not
constexpr std::int64_t kRows = 16;  // of one user that are rated together: their scores stay in the cache

struct Asked {
    const std::int64_t* user;
    const std::int32_t* candidate;  // [U, many], -1 for none
    std::int64_t many;
    Vectors vectors;
    const float* like;  // [B, D] of length 1, or null: nothing is filtered
    float bound;
    const std::int64_t* rank;  // [B, m]
    std::int64_t m;
    std::int64_t* item;  // [B, m]
    bool* keep;          // [B, m]
};

// Rows order[first .. last) of one user.
struct Run {
    std::int64_t first, last;
};

// Scores of a run's rows, and their likeness: a row of `stride` floats each.
class Tile {
public:
    explicit Tile(std::int64_t many)
        : stride(many + 16), score(static_cast<std::size_t>(kRows * stride)), alike(score.size()),
          length(static_cast<std::size_t>(many)), place(length.size()), key(length.size()) {}

    std::int64_t stride;  // no power of two, whose rows would fall onto the same lines of the cache
    std::vector<float> score, alike, length;
    std::vector<std::int32_t> place;
    std::vector<std::int64_t> key;
    Bins bins;
};

// out[r * stride] = <side[r], vector>
template <int D>
static void rate(const float* const* side, std::int64_t rows, const float* vector, std::int64_t d, float* out,
                 std::int64_t stride) {
    std::int64_t r = 0;
    for (; r + 4 <= rows; r += 4) four_dots<D>(side + r, vector, d, out + r * stride, stride);
    for (; r < rows; ++r) out[r * stride] = dot<D>(side[r], vector, d);
}

template <int D>
static void rate_run(const Asked& ask, const std::int64_t* row, std::int64_t rows, const std::int32_t* candidate,
                     Tile& tile) {
    const std::int64_t d = D > 0 ? D : ask.vectors.width, many = ask.many, stride = tile.stride;
    const bool lengths = ask.vectors.cosine || ask.like != nullptr;
    const float *query[kRows], *like[kRows];
    for (std::int64_t r = 0; r < rows; ++r) {
        query[r] = ask.vectors.query + row[r] * d;
        like[r] = ask.like == nullptr ? nullptr : ask.like + row[r] * d;
    }
    for (std::int64_t k = 0; k < many; ++k) {
        if (k + kAhead < many) prefetch_row(ask.vectors.table + std::max(candidate[k + kAhead], 0) * d, d);
        if (candidate[k] < 0) {
            for (std::int64_t r = 0; r < rows; ++r) tile.score[r * stride + k] = tile.alike[r * stride + k] = 0.0f;
            tile.length[k] = 1.0f;
            continue;
        }
        const float* vector = ask.vectors.table + candidate[k] * d;
        tile.length[k] = lengths ? std::max(std::sqrt(dot<D>(vector, vector, d)), 1e-12f) : 1.0f;
        rate<D>(query, rows, vector, d, tile.score.data() + k, stride);
        if (ask.like != nullptr) rate<D>(like, rows, vector, d, tile.alike.data() + k, stride);
    }
}

static void divide(float* __restrict value, const float* __restrict by, std::int64_t n) {
    for (std::int64_t k = 0; k < n; ++k) value[k] /= by[k];
}

// Writes the kept candidates' scores and places behind each other; how many there are.
static std::int64_t compress(const Asked& ask, const std::int32_t* candidate, Tile& tile, std::int64_t r) {
    const std::int64_t many = ask.many;
    float *score = tile.score.data() + r * tile.stride, *alike = tile.alike.data() + r * tile.stride;
    if (ask.vectors.cosine) divide(score, tile.length.data(), many);
    if (ask.like != nullptr) divide(alike, tile.length.data(), many);
    const float bound = ask.like == nullptr ? 0.0f : ask.bound;  // what is not compared is 0
    std::int32_t* place = tile.place.data();
    std::int64_t kept = 0;
    for (std::int64_t k = 0; k < many; ++k) {
        const bool keeps = (candidate[k] >= 0) & (alike[k] <= bound);
        score[kept] = std::max(score[k], kLeast);
        place[kept] = static_cast<std::int32_t>(k);
        kept += keeps;
    }
    return kept;
}

// The items at the ranks of one row among `kept` scores.
static void take_ranks(const Asked& ask, std::int64_t row, const std::int32_t* candidate, Tile& tile,
                       const float* score, std::int64_t kept) {
    const std::int64_t *rank = ask.rank + row * ask.m, *last = rank + ask.m;
    std::int64_t many = 0;  // that are put in order
    for (const std::int64_t* one = rank; one < last; ++one) many = std::max(many, std::min(*one, kept - 1) + 1);
    if (many > 0) hardest_first(score, tile.place.data(), kept, many, tile.key, tile.bins);
    for (std::int64_t j = 0; j < ask.m; ++j) {
        const bool held = rank[j] < kept;
        ask.keep[row * ask.m + j] = held;
        ask.item[row * ask.m + j] = held ? candidate[place_of(tile.key[rank[j]])] : 0;
    }
}

// Raises IndexError unless every candidate is an item or none.
static void want_items(const std::int32_t* candidate, std::int64_t many, std::int64_t n_items) {
    const std::int32_t most = *std::max_element(candidate, candidate + many);
    if (most >= n_items)
        throw std::out_of_range("candidate " + std::to_string(most) + ", wanted 0.." + std::to_string(n_items - 1) +
                                ", or -1 for none");
}

static std::vector<Run> runs_of(const std::int64_t* user, const std::vector<std::int64_t>& order) {
    std::vector<Run> runs;
    const std::int64_t n = static_cast<std::int64_t>(order.size());
    for (std::int64_t first = 0, last; first < n; first = last) {
        for (last = first + 1; last < n && last < first + kRows && user[order[last]] == user[order[first]];) ++last;
        runs.push_back({first, last});
    }
    return runs;
}

// item[b, j] = the candidate at rank[b, j] of those of user[b] that are kept, by score, the highest at rank 0
static void at_ranks(In<std::int64_t, 2> rank, In<std::int64_t, 1> user, In<std::int32_t, 2> candidate,
                     In<float, 2> query, In<float, 2> table, bool cosine, std::optional<In<float, 2>> like, float bound,
                     Out<std::int64_t, 2> item, Out<bool, 2> keep, int threads) {
    const std::int64_t rows = user.shape(0), many = candidate.shape(1), width = table.shape(1);
    const std::int64_t n_items = table.shape(0), n_users = candidate.shape(0), m = rank.shape(1);
    const auto fits = [&](const auto& array, std::int64_t second) {
        return array.shape(0) == user.shape(0) && array.shape(1) == static_cast<std::size_t>(second);
    };
    want(fits(query, width) && (!like || fits(*like, width)), "at_ranks: query and like need [B, D], as wide as table");
    want(fits(rank, m) && fits(item, m) && fits(keep, m), "at_ranks: rank, item and keep need the same shape, [B, m]");
    want(many >= 1 && many <= INT32_MAX, "at_ranks: wanted 1 to 2^31 - 1 candidates");
    const Vectors vectors{query.data(), table.data(), width, cosine};
    const Asked ask{user.data(), candidate.data(), many,        vectors,     like ? like->data() : nullptr,
                    bound,       rank.data(),      m,           item.data(), keep.data()};
    nb::gil_scoped_release free;
    want_ids(ask.user, rows, n_users, "user");
    for (std::int64_t at = 0; at < rows * m; ++at) want(ask.rank[at] >= 0, "at_ranks: a rank below 0");
    std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return ask.user[a] < ask.user[b]; });
    const std::vector<Run> runs = runs_of(ask.user, order);
    parallel(threads, static_cast<std::int64_t>(runs.size()), 1 + 4096 / many, [&](std::int64_t begin, std::int64_t end) {
        Tile tile(many);
        for (std::int64_t at = begin; at < end; ++at) {
            const std::int64_t *row = order.data() + runs[at].first, n = runs[at].last - runs[at].first;
            const std::int32_t* own = ask.candidate + ask.user[row[0]] * many;
            want_items(own, many, n_items);
            with_width(width, [&](auto d) { rate_run<decltype(d)::value>(ask, row, n, own, tile); });
            for (std::int64_t r = 0; r < n; ++r) {
                const std::int64_t kept = compress(ask, own, tile, r);
                take_ranks(ask, row[r], own, tile, tile.score.data() + r * tile.stride, kept);
            }
        }
    });
}

void bind_kept(nb::module_& m) {
    using namespace nb::literals;
    m.def("at_ranks", &at_ranks, "rank"_a, "user"_a, "candidate"_a, "query"_a, "table"_a, "cosine"_a,
          "like"_a.none(), "bound"_a, "item"_a, "keep"_a, "threads"_a);
}

}  // namespace negsieve
