// Who has seen which of some items. Twin: negsieve/kernels/membership.py.
#include <algorithm>
#include <vector>

#include "lockstep.hpp"
#include "pool.hpp"
#include "seen.hpp"

namespace negsieve {

// out[b, j] = whether user[b] has item[b, j]
static void contains(In<std::int64_t, 1> user, In<std::int64_t, 2> item, const SeenArrays& own, Out<bool, 2> out,
                     int threads) {
    const SeenRows seen = own.rows();
    const std::int64_t rows = out.shape(0), width = out.shape(1);
    want(user.shape(0) == out.shape(0) && item.shape(0) == out.shape(0) && item.shape(1) == out.shape(1),
         "contains: user, item and out need the same rows, item and out the same width");
    const std::int64_t *users = user.data(), *items = item.data();
    bool* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, rows * width, 1024, [&](std::int64_t begin, std::int64_t end) {
        std::fill_n(target + begin, end - begin, false);
        ask_entries(seen, users, items, width, begin, end, [&](std::int64_t entry, std::int64_t) { target[entry] = true; });
    });
}

// out[b, j] = whether user[b] has item[j]: every user's items are marked, instead of every entry searched
static void contains_shared(In<std::int64_t, 1> user, In<std::int64_t, 1> item, const SeenArrays& own,
                            std::int64_t n_items, Out<bool, 2> out, int threads) {
    const SeenRows seen = own.rows();
    const std::int64_t rows = out.shape(0), width = out.shape(1);
    want(user.shape(0) == out.shape(0) && item.shape(0) == out.shape(1),
         "contains_shared: out needs a row a user and a column an item");
    want(width <= INT32_MAX && n_items >= 0 && n_items <= INT32_MAX, "contains_shared: more than 2^31 - 1 items");
    const std::int64_t *users = user.data(), *items = item.data();
    bool* target = out.data();
    nb::gil_scoped_release free;
    std::vector<std::int32_t> first(static_cast<std::size_t>(n_items), -1);  // the last column of an item
    std::vector<std::int32_t> next(static_cast<std::size_t>(width), -1);     // the column of the same item before
    for (std::int64_t j = 0; j < width; ++j) {
        if (items[j] < 0 || items[j] >= n_items) continue;
        next[j] = first[items[j]];
        first[items[j]] = static_cast<std::int32_t>(j);
    }
    parallel(threads, rows, 16, [&](std::int64_t begin, std::int64_t end) {
        std::fill_n(target + begin * width, (end - begin) * width, false);
        for (std::int64_t row = begin; row < end; ++row) {
            const Row has = seen.row(users[row]);
            for (const std::int32_t* at = has.begin; at < has.end; ++at) {
                if (*at < 0 || *at >= n_items) throw std::out_of_range("a row holds an item that is not there");
                for (std::int32_t j = first[*at]; j >= 0; j = next[j]) target[row * width + j] = true;
            }
        }
    });
}

// Sets the bits of all items in words of zeros, which head lays out as Sieve says.
static void sift(const SeenArrays& own, Out<std::int64_t, 1> word) {
    const SeenRows seen = own.rows();
    want(seen.sieve && word.data() == seen.sieve.word, "sift: wanted the words of the rows' own sieve");
    auto* words = reinterpret_cast<std::uint64_t*>(word.data());
    nb::gil_scoped_release free;
    for (std::int64_t user = 0; user < seen.n_users; ++user) {
        const Row has = seen.row(user);
        const Sieve::Part part = seen.part(user);
        for (const std::int32_t* at = has.begin; at < has.end; ++at) {
            const Sieve::Mark mark = Sieve::mark(part, *at);
            words[mark.place] |= mark.mask;
        }
    }
}

void bind_membership(nb::module_& m) {
    using namespace nb::literals;
    using Longs = In<std::int64_t, 1>;
    nb::class_<SeenArrays>(m, "SeenArrays")
        .def("__init__",
             [](SeenArrays* self, Longs offset, In<std::int32_t, 1> item, std::optional<Longs> head,
                std::optional<Longs> word) { new (self) SeenArrays{offset, item, head, word}; },
             "offset"_a, "item"_a, "head"_a.none(), "word"_a.none());
    m.def("sift", &sift, "own"_a, "word"_a);
    m.def("contains", &contains, "user"_a, "item"_a, "own"_a, "out"_a, "threads"_a);
    m.def("contains_shared", &contains_shared, "user"_a, "item"_a, "own"_a, "n_items"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
