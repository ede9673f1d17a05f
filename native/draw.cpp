// Random words and draws of items that a user has not seen. Twins: negsieve/kernels/counter.py, draw.py.
#include "arrays.hpp"
#include "counter.hpp"
#include "pool.hpp"

namespace negsieve {

// out[b, k] = word (key, sample[b], first + k)
static void words(std::uint64_t key, In<std::int64_t, 1> sample, std::uint64_t first, Out<std::int64_t, 2> out,
                  int threads) {
    want(out.shape(0) == sample.shape(0), "words: out needs a row a sample");
    const std::int64_t n = out.shape(0), width = out.shape(1);
    const std::int64_t* samples = sample.data();
    std::int64_t* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, n, 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const std::uint64_t start = stream(key, static_cast<std::uint64_t>(samples[row]));
            for (std::int64_t k = 0; k < width; ++k)
                target[row * width + k] = static_cast<std::int64_t>(word(start, first + static_cast<std::uint64_t>(k)));
        }
    });
}

void bind_draw(nb::module_& m) {
    using namespace nb::literals;
    m.def("words", &words, "key"_a, "sample"_a, "first"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
