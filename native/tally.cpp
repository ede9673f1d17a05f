// What chosen items were, counted in one pass. Twin: negsieve/kernels/tally.py.
#include <atomic>
#include <optional>
#include <tuple>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include "lockstep.hpp"
#include "pool.hpp"
#include "seen.hpp"

namespace negsieve {

// Marks item[b, k] in covered, and returns how many user[b] has, and the sum of their counts.
static std::tuple<std::int64_t, std::int64_t> tally(In<std::int64_t, 1> user, In<std::int64_t, 2> item,
                                                    std::optional<SeenArrays> own, In<std::int64_t, 1> count,
                                                    Out<bool, 1> covered, int threads) {
    const std::int64_t rows = item.shape(0), width = item.shape(1), n_items = count.shape(0);
    want(user.shape(0) == item.shape(0), "tally: user and item need the same rows");
    want(covered.shape(0) == count.shape(0), "tally: count and covered need an entry an item");
    const SeenRows seen = own ? own->rows() : SeenRows{};
    const std::int64_t *users = user.data(), *items = item.data(), *counts = count.data();
    bool* marks = covered.data();
    std::atomic<std::int64_t> found{0}, sum{0};
    nb::gil_scoped_release free;
    want_ids(items, rows * width, n_items, "item");
    parallel(threads, rows * width, 4096, [&](std::int64_t begin, std::int64_t end) {
        std::int64_t many_found = 0, part = 0;
        for (std::int64_t entry = begin; entry < end; ++entry) {
            part += counts[items[entry]];
            __atomic_store_n(marks + items[entry], true, __ATOMIC_RELAXED);  // threads may mark the same item
        }
        if (own) ask_entries(seen, users, items, width, begin, end, [&](std::int64_t, std::int64_t) { ++many_found; });
        found += many_found;
        sum += part;
    });
    return {found.load(), sum.load()};
}

void bind_tally(nb::module_& m) {
    using namespace nb::literals;
    m.def("tally", &tally, "user"_a, "item"_a, "own"_a.none(), "count"_a, "covered"_a, "threads"_a);
}

}  // namespace negsieve
