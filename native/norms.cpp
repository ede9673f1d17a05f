// Squared norms of table rows, and their gradient: what a penalty on the rows of a batch reads. Twin: kernels/norms.py.
#include "arrays.hpp"
#include "dot.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr std::int64_t kAhead = 12;  // rows between asking for one and reading it

// out[n] = |table[place[n]]|^2
static void squared_norms(In<float, 2> table, In<std::int64_t, 1> place, Out<float, 1> out, int threads) {
    const std::int64_t many = place.shape(0), width = table.shape(1), rows = table.shape(0);
    want(out.shape(0) == place.shape(0), "squared_norms: out needs an entry a place");
    const float* vectors = table.data();
    const std::int64_t* places = place.data();
    float* target = out.data();
    nb::gil_scoped_release free;
    want_ids(places, many, rows, "row");
    with_width(width, [&](auto known) {
        constexpr int D = decltype(known)::value;
        const std::int64_t d = D > 0 ? D : width;
        parallel(threads, many, 512, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t n = begin; n < end; ++n) {
                if (n + kAhead < end) prefetch_row(vectors + places[n + kAhead] * d, d);
                const float* vector = vectors + places[n] * d;
                target[n] = dot<D>(vector, vector, d);
            }
        });
    });
}

// d_table[r] += 2 table[r] * (the sum of gradient[n] over place[n] = r, in the order of n)
static void squared_norms_gradient(In<float, 2> table, In<std::int64_t, 1> place, In<float, 1> gradient,
                                   Out<float, 2> d_table, int threads) {
    const std::int64_t many = place.shape(0), d = table.shape(1), rows = table.shape(0);
    want(gradient.shape(0) == place.shape(0), "squared_norms_gradient: wanted a gradient a place");
    want(d_table.shape(0) == table.shape(0) && d_table.shape(1) == table.shape(1),
         "squared_norms_gradient: d_table needs the shape of table");
    const float *vectors = table.data(), *slope = gradient.data();
    const std::int64_t* places = place.data();
    float* target = d_table.data();
    nb::gil_scoped_release free;
    want_ids(places, many, rows, "row");
    if (many == 0) return;
    parallel(threads, rows, 1024, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = 0; n < many; ++n) {
            if (n + kAhead < many) {
                prefetch_row(vectors + places[n + kAhead] * d, d);
                prefetch_row(target + places[n + kAhead] * d, d);
            }
            const std::int64_t row = places[n];
            if (row < begin || row >= end) continue;
            const float factor = 2.0f * slope[n];
            for (std::int64_t l = 0; l < d; ++l) target[row * d + l] += factor * vectors[row * d + l];
        }
    });
}

void bind_norms(nb::module_& m) {
    using namespace nb::literals;
    m.def("squared_norms", &squared_norms, "table"_a, "place"_a, "out"_a, "threads"_a);
    m.def("squared_norms_gradient", &squared_norms_gradient, "table"_a, "place"_a, "gradient"_a, "d_table"_a,
          "threads"_a);
}

}  // namespace negsieve
