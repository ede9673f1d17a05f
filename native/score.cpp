// Rates candidates: a gather of item rows and a dot product each, nothing stored between. Twin: kernels/score.py.
#include "arrays.hpp"
#include "dot.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr std::int64_t kAhead = 12;  // candidates between asking for a row and reading it

template <int D, bool Cosine>
static void rate_rows(const float* query, const float* table, const std::int64_t* item, float* out, std::int64_t begin,
                      std::int64_t end, std::int64_t many, std::int64_t width, std::int64_t n_items) {
    const std::int64_t d = D > 0 ? D : width;
    want_ids(item + begin * many, (end - begin) * many, n_items, "item");
    const std::int64_t last = end * many;
    for (std::int64_t row = begin; row < end; ++row) {
        const float* side = query + row * d;
        for (std::int64_t at = row * many; at < (row + 1) * many; ++at) {
            if (at + kAhead < last) prefetch_row(table + item[at + kAhead] * d, d);
            const float* vector = table + item[at] * d;
            out[at] = Cosine ? cosine<D>(side, vector, d) : dot<D>(side, vector, d);
        }
    }
}

// out[b, m] = <query[b], table[item[b, m]]>, over the item's norm if cosine
static void score_candidates(In<float, 2> query, In<float, 2> table, In<std::int64_t, 2> item, bool cosine,
                             Out<float, 2> out, int threads) {
    const std::int64_t rows = item.shape(0), many = item.shape(1), width = table.shape(1), n_items = table.shape(0);
    want(query.shape(0) == static_cast<std::size_t>(rows), "score_candidates: query and item need the same rows");
    want(query.shape(1) == static_cast<std::size_t>(width), "score_candidates: query and table differ in width");
    want(out.shape(0) == static_cast<std::size_t>(rows) && out.shape(1) == static_cast<std::size_t>(many),
         "score_candidates: out needs the shape of item");
    const float *sides = query.data(), *vectors = table.data();
    const std::int64_t* items = item.data();
    float* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, rows, 1 + 4096 / (many + 1), [&](std::int64_t begin, std::int64_t end) {
        with_width(width, [&](auto d) {
            constexpr int D = decltype(d)::value;
            const auto rate = cosine ? rate_rows<D, true> : rate_rows<D, false>;
            rate(sides, vectors, items, target, begin, end, many, width, n_items);
        });
    });
}

void bind_score(nb::module_& m) {
    using namespace nb::literals;
    m.def("score_candidates", &score_candidates, "query"_a, "table"_a, "item"_a, "cosine"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
