// The hardest of some candidates, drawn here or rated elsewhere. Twin: kernels/hardest.py.
#include "hardest.hpp"

#include <numeric>

#include "arrays.hpp"
#include "pool.hpp"
#include "seen.hpp"

namespace negsieve {

// place[b, 0 .. m) = where the m highest of score[b] stand, highest first
static void highest(In<float, 2> score, Out<std::int64_t, 2> place, int threads) {
    const std::int64_t rows = score.shape(0), many = score.shape(1), m = place.shape(1);
    want(place.shape(0) == static_cast<std::size_t>(rows), "highest: place needs the rows of score");
    want(m >= 1 && m <= many, "highest: place must be no wider than score, and not empty");
    want(many <= INT32_MAX, "highest: more than 2^31 scores a row");
    const float* scores = score.data();
    std::int64_t* places = place.data();
    nb::gil_scoped_release free;
    parallel(threads, rows, 1 + 16384 / many, [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::int64_t> key(static_cast<std::size_t>(many));
        std::vector<std::int32_t> place_of_all(static_cast<std::size_t>(many));
        std::iota(place_of_all.begin(), place_of_all.end(), 0);
        Bins bins;
        for (std::int64_t row = begin; row < end; ++row) {
            hardest_first(scores + row * many, place_of_all.data(), many, m, key, bins);
            for (std::int64_t k = 0; k < m; ++k) places[row * m + k] = place_of(key[k]);
        }
    });
}

// item[b, 0 .. m) = the m hardest of `many` even draws from what user[b] has not seen, hardest first
static void hardest(std::uint64_t key, In<std::int64_t, 1> sample, In<std::int64_t, 1> user, In<float, 2> query,
                    In<float, 2> table, const SeenArrays& seen, std::int64_t many, bool cosine,
                    Out<std::int64_t, 2> item, int threads) {
    const std::int64_t rows = user.shape(0), m = item.shape(1), width = table.shape(1);
    const std::int64_t n_items = table.shape(0);
    want(sample.shape(0) == user.shape(0) && query.shape(0) == user.shape(0) && item.shape(0) == user.shape(0),
         "hardest: sample, user, query and item need the same rows");
    want(query.shape(1) == table.shape(1), "hardest: query and table differ in width");
    want(m >= 1 && m <= many && many <= INT32_MAX, "hardest: choose 1 or more, and no more than are drawn");
    want(n_items >= 1 && n_items <= INT32_MAX, "hardest: the table needs 1 to 2^31 - 1 items");
    const SeenRows rows_seen = seen.rows();
    const RowDraws draws{Streams(key), sample.data(), user.data(), many, EvenLaw{n_items}, rows_seen};
    const Vectors vectors{query.data(), table.data(), width, cosine};
    std::int64_t* target = item.data();
    nb::gil_scoped_release free;
    parallel(threads, rows, 1 + 4096 / many, [&](std::int64_t begin, std::int64_t end) {
        with_width(width, [&](auto d) {
            constexpr int D = decltype(d)::value;
            const auto choose = cosine ? hardest_rows<D, true> : hardest_rows<D, false>;
            choose(draws, vectors, m, target, begin, end);
        });
    });
}

void bind_hardest(nb::module_& m) {
    using namespace nb::literals;
    m.def("highest", &highest, "score"_a, "place"_a, "threads"_a);
    m.def("hardest", &hardest, "key"_a, "sample"_a, "user"_a, "query"_a, "table"_a, "seen"_a, "many"_a,
          "cosine"_a, "item"_a, "threads"_a);
}

}  // namespace negsieve
