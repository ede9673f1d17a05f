// Rates candidates, and the gradients of that: a gather of item rows and a dot product each, nothing stored between.
//
// Twin: negsieve/kernels/score.py.
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
    parallel(threads, rows, 1 + 1024 / (many + 1), [&](std::int64_t begin, std::int64_t end) {
        with_width(width, [&](auto d) {
            constexpr int D = decltype(d)::value;
            const auto rate = cosine ? rate_rows<D, true> : rate_rows<D, false>;
            rate(sides, vectors, items, target, begin, end, many, width, n_items);
        });
    });
}

// One candidate's share of the gradients: factor * vector goes to the query, factor * query + own * vector to the item.
struct Pull {
    float factor, own;
};

// Of g * <q, v>, or of g * <q, v> / |v| whose norm is held above 1e-12 and then a constant.
template <int D, bool Cosine>
static Pull pull(float g, float score, const float* vector, std::int64_t d) {
    if (!Cosine) return {g, 0.0f};
    const float norm = std::sqrt(dot<D>(vector, vector, d));
    return norm > 1e-12f ? Pull{g / norm, -g * score / (norm * norm)} : Pull{g / 1e-12f, 0.0f};
}

struct Scored {
    const float *query, *table;
    const std::int64_t* item;
    const float *score, *gradient;
    std::int64_t rows, many, width;
};

// d_query[b] for the rows of begin .. end
template <int D, bool Cosine>
static void query_gradients(const Scored& one, float* d_query, std::int64_t begin, std::int64_t end) {
    const std::int64_t d = D > 0 ? D : one.width, last = end * one.many;
    for (std::int64_t row = begin; row < end; ++row) {
        float* target = d_query + row * d;
        std::fill(target, target + d, 0.0f);
        for (std::int64_t at = row * one.many; at < (row + 1) * one.many; ++at) {
            if (at + kAhead < last) prefetch_row(one.table + one.item[at + kAhead] * d, d);
            const float* vector = one.table + one.item[at] * d;
            const float factor = pull<D, Cosine>(one.gradient[at], one.score[at], vector, d).factor;
            for (std::int64_t l = 0; l < d; ++l) target[l] += factor * vector[l];
        }
    }
}

// Adds to d_table's rows begin .. end, each in the order of (b, m): who does it does not change the sum.
template <int D, bool Cosine>
static void item_gradients(const Scored& one, float* d_table, std::int64_t begin, std::int64_t end) {
    const std::int64_t d = D > 0 ? D : one.width, last = one.rows * one.many;
    for (std::int64_t row = 0; row < one.rows; ++row) {
        const float* query = one.query + row * d;
        for (std::int64_t at = row * one.many; at < (row + 1) * one.many; ++at) {
            if (at + kAhead < last) prefetch_row(d_table + one.item[at + kAhead] * d, d);
            const std::int64_t item = one.item[at];
            if (item < begin || item >= end) continue;
            const float* vector = one.table + item * d;
            const Pull share = pull<D, Cosine>(one.gradient[at], one.score[at], vector, d);
            float* target = d_table + item * d;
            for (std::int64_t l = 0; l < d; ++l)
                target[l] += Cosine ? share.factor * query[l] + share.own * vector[l] : share.factor * query[l];
        }
    }
}

// d_query [B, D] is written, d_table [I, D] is added to
static void score_gradients(In<float, 2> query, In<float, 2> table, In<std::int64_t, 2> item, In<float, 2> score,
                            In<float, 2> gradient, bool cosine, Out<float, 2> d_query, Out<float, 2> d_table,
                            int threads) {
    const std::int64_t rows = item.shape(0), many = item.shape(1), width = table.shape(1), n_items = table.shape(0);
    const auto fits = [](const auto& array, std::int64_t first, std::int64_t second) {
        return array.shape(0) == static_cast<std::size_t>(first) && array.shape(1) == static_cast<std::size_t>(second);
    };
    want(fits(query, rows, width) && fits(d_query, rows, width), "score_gradients: query needs [B, D]");
    want(fits(d_table, n_items, width), "score_gradients: d_table needs the shape of table");
    want(fits(score, rows, many) && fits(gradient, rows, many), "score_gradients: score needs the shape of item");
    const Scored one{query.data(), table.data(), item.data(), score.data(), gradient.data(), rows, many, width};
    float *to_query = d_query.data(), *to_table = d_table.data();
    nb::gil_scoped_release free;
    want_ids(one.item, rows * many, n_items, "item");
    with_width(width, [&](auto d) {
        constexpr int D = decltype(d)::value;
        const auto of_queries = cosine ? query_gradients<D, true> : query_gradients<D, false>;
        const auto of_items = cosine ? item_gradients<D, true> : item_gradients<D, false>;
        parallel(threads, rows, 1 + 4096 / (many + 1),
                 [&](std::int64_t begin, std::int64_t end) { of_queries(one, to_query, begin, end); });
        if (rows * many > 0)
            parallel(threads, n_items, 1024,
                     [&](std::int64_t begin, std::int64_t end) { of_items(one, to_table, begin, end); });
    });
}

void bind_score(nb::module_& m) {
    using namespace nb::literals;
    m.def("score_candidates", &score_candidates, "query"_a, "table"_a, "item"_a, "cosine"_a, "out"_a, "threads"_a);
    m.def("score_gradients", &score_gradients, "query"_a, "table"_a, "item"_a, "score"_a, "gradient"_a, "cosine"_a,
          "d_query"_a, "d_table"_a, "threads"_a);
}

}  // namespace negsieve
