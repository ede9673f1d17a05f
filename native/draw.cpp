// Random words and draws of items that a user has not seen. Twins: negsieve/kernels/counter.py, draw.py.
#include "draw.hpp"

#include "lockstep.hpp"
#include "pool.hpp"
#include "seen.hpp"

namespace negsieve {

// out[b, k] = word (key, sample[b], first + k)
static void words(std::uint64_t key, In<std::int64_t, 1> sample, std::uint64_t first, Out<std::int64_t, 2> out,
                  int threads) {
    want(out.shape(0) == sample.shape(0), "words: out needs a row a sample");
    const std::int64_t n = out.shape(0), width = out.shape(1);
    const std::int64_t* samples = sample.data();
    const Streams streams(key);
    std::int64_t* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, n, 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const std::uint64_t start = streams.start(samples[row]);
            for (std::int64_t k = 0; k < width; ++k)
                target[row * width + k] = static_cast<std::int64_t>(word(start, first + static_cast<std::uint64_t>(k)));
        }
    });
}

// Whose draws are wanted, how many each, and where they go: out[b, k] is draw k of sample[b] for user[b].
struct Wanted {
    Streams streams;
    const std::int64_t* sample;
    const std::int64_t* user;
    std::int64_t rows, width;
    std::int64_t* out;

    std::uint64_t start(std::int64_t row) const { return streams.start(sample[row]); }
};

static Wanted wanted(std::uint64_t key, const In<std::int64_t, 1>& sample, const In<std::int64_t, 1>& user,
                     const Out<std::int64_t, 2>& out) {
    want(sample.shape(0) == user.shape(0) && out.shape(0) == user.shape(0),
         "sample, user and out need the same rows");
    want(out.shape(1) <= INT32_MAX, "more than 2^31 draws a row");
    return {Streams(key), sample.data(), user.data(), static_cast<std::int64_t>(out.shape(0)),
            static_cast<std::int64_t>(out.shape(1)), out.data()};
}

// Entries begin .. end of out, read row by row: first attempts in tiles, the few that are refused one by one.
template <class Law>
static void draw_entries(const Law& law, const SeenRows& seen, const Wanted to, std::int64_t begin, std::int64_t end) {
    Questions questions(seen, [&](std::int64_t entry, std::int64_t of) {
        const auto draw = static_cast<std::uint64_t>(entry % to.width);
        to.out[entry] = draw_unseen(law, to.start(entry / to.width), draw, seen.row(of), 1);
    });
    std::int64_t user[kTile];
    std::int32_t item[kTile];
    std::int64_t row = begin / to.width, k = begin % to.width, ahead = row;
    std::uint64_t start = to.start(row);
    for (std::int64_t first = begin; first < end; first += kTile) {
        const std::int64_t many = std::min(kTile, end - first);
        const std::int64_t near = std::min((first + 2 * kTile) / to.width, to.rows);
        for (ahead = std::max(ahead, row + 1); ahead < near; ++ahead) {
            if (seen.sieve) {
                seen.sieve.ask(to.user[ahead]);
                continue;
            }
            const Row next = seen.row(to.user[ahead]);
            __builtin_prefetch(next.begin + next.size() / 2);  // where a search begins
        }
        for (std::int64_t j = 0; j < many; ++j, ++k) {
            if (k == to.width) {
                k = 0;
                start = to.start(++row);
            }
            user[j] = to.user[row];
            item[j] = law.propose(word(start, static_cast<std::uint64_t>(k)));
        }
        std::copy_n(item, many, to.out + first);
        questions.ask(user, item, first, many);
    }
    questions.finish();
}

template <class Law>
static void draw_all(const Law& law, const SeenRows& seen, const Wanted& to, int threads) {
    parallel(threads, to.rows * to.width, 1024, [&](std::int64_t begin, std::int64_t end) {
        if (begin < end) draw_entries(law, seen, to, begin, end);
    });
}

// out[b, k] = draw k of sample[b], even over what user[b] has not seen
static void draw_even(std::uint64_t key, In<std::int64_t, 1> sample, In<std::int64_t, 1> user,
                      const SeenArrays& rows, std::int64_t n_items, Out<std::int64_t, 2> out, int threads) {
    const SeenRows seen = rows.rows();
    const Wanted to = wanted(key, sample, user, out);
    want(n_items >= 1 && n_items <= INT32_MAX, "draw_even: wanted 1 to 2^31 - 1 items");
    nb::gil_scoped_release free;
    draw_all(EvenLaw{n_items}, seen, to, threads);
}

// The same by weight
static void draw_weighted(std::uint64_t key, In<std::int64_t, 1> sample, In<std::int64_t, 1> user,
                          const SeenArrays& rows, In<std::int64_t, 2> table,
                          In<std::int64_t, 1> edge, In<std::int64_t, 1> held, Out<std::int64_t, 2> out, int threads) {
    const SeenRows seen = rows.rows();
    const Wanted to = wanted(key, sample, user, out);
    const std::int64_t n_items = edge.shape(0);
    want(n_items >= 1 && n_items <= INT32_MAX, "draw_weighted: wanted 1 to 2^31 - 1 items");
    want(table.shape(0) == edge.shape(0) && table.shape(1) == 2, "draw_weighted: table needs a pair an item");
    want(held.shape(0) == rows.item.shape(0) + 1, "draw_weighted: held needs an entry more than there are pairs");
    const WeightedLaw law{table.data(), edge.data(), held.data(), rows.item.data(), n_items};
    nb::gil_scoped_release free;
    draw_all(law, seen, to, threads);
}

void bind_draw(nb::module_& m) {
    using namespace nb::literals;
    m.def("words", &words, "key"_a, "sample"_a, "first"_a, "out"_a, "threads"_a);
    m.def("draw_even", &draw_even, "key"_a, "sample"_a, "user"_a, "rows"_a, "n_items"_a, "out"_a,
          "threads"_a);
    m.def("draw_weighted", &draw_weighted, "key"_a, "sample"_a, "user"_a, "rows"_a, "table"_a, "edge"_a,
          "held"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
