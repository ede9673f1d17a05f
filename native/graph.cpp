// Products with D^-1/2 A D^-1/2 of an undirected graph, and what LightGCN's training step does with them.
//
// The factors D^-1/2 live in the state: with s = D^-1/2 x a product is a plain sum of neighbours' rows, so there is no
// array of values to read. Twins: negsieve/kernels/graph.py.
#include <cmath>
#include <vector>

#include "arrays.hpp"
#include "pool.hpp"
#include "rowsum.hpp"

namespace negsieve {

// An undirected graph in compressed rows, checked once: node r has neighbour[offset[r] .. offset[r + 1]).
struct Graph {
    In<std::int64_t, 1> offset;
    In<std::int32_t, 1> neighbour;
    In<float, 1> scale;  // degree^-1/2, 0 where there is no neighbour

    Graph(In<std::int64_t, 1> offset_, In<std::int32_t, 1> neighbour_, In<float, 1> scale_)
        : offset(offset_), neighbour(neighbour_), scale(scale_) {
        want(offset.shape(0) > 0 && scale.shape(0) + 1 == offset.shape(0), "Graph: wanted one offset more than scales");
        const std::int64_t* at = offset.data();
        const std::int64_t n = nodes(), edges = neighbour.shape(0);
        want(at[0] == 0 && at[n] == edges, "Graph: the offsets must run from 0 to the number of neighbours");
        bool rising = true, inside = true;
        for (std::int64_t r = 0; r < n; ++r) rising &= at[r] <= at[r + 1];
        for (std::int64_t k = 0; k < edges; ++k) inside &= static_cast<std::uint32_t>(neighbour.data()[k]) < n;
        want(rising, "Graph: the offsets must not fall");
        want(inside, "Graph: a neighbour is no node");
    }

    std::int64_t nodes() const { return static_cast<std::int64_t>(offset.shape(0)) - 1; }
};

// Some rows; `from[offset[i] .. offset[i + 1])` are what row i adds.
struct Piece {
    const std::int32_t* from;
    const std::int64_t* offset;
    std::int64_t rows;
};

// finish(i, sum) for each row of a piece, where `sum` adds its rows of the table, [width]; it may be overwritten.
template <class S, class Finish>
void each_sum(const S* table, std::int64_t width, const Piece& piece, const Finish& finish) {
    std::vector<float> space(static_cast<std::size_t>(width) + 16);
    float* sum = space.data() + (64 - reinterpret_cast<std::uintptr_t>(space.data()) % 64) % 64 / sizeof(float);
    const std::int64_t last = piece.offset[piece.rows] - 1;
    for (std::int64_t i = 0; i < piece.rows; ++i) {
        sum_rows(table, width, piece.from, piece.offset[i], piece.offset[i + 1], last, sum);
        finish(i, sum);
    }
}

// Where a piece begins when a row costs its neighbours and a constant; total(i) is the number of those before row i.
template <class Total>
std::int64_t cut(std::int64_t piece, std::int64_t pieces, std::int64_t rows, const Total& total) {
    const auto cost = [&](std::int64_t i) { return total(i) + 8 * i; };
    const std::int64_t wanted = cost(rows) / pieces * piece;
    std::int64_t low = 0, high = rows;
    while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        if (cost(middle) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return piece == pieces ? rows : low;
}

// body(begin, end) over all rows, cut by what they cost. More pieces than threads: rows of one cost take longer or
// shorter by where their neighbours lie.
template <class Total, class Body>
void by_cost(int threads, std::int64_t rows, const Total& total, const Body& body) {
    const std::int64_t pieces = threads <= 1 ? 1 : std::clamp<std::int64_t>(rows / 256, 1, 32 * threads);
    in_turn(threads, pieces, [&](std::int64_t piece) {
        body(cut(piece, pieces, rows, total), cut(piece + 1, pieces, rows, total));
    });
}

// finish(r, sum) for every node r, where `sum` adds the neighbours' rows of a table [N, width].
template <class S, class Finish>
void all_sums(const Graph& graph, const S* table, std::int64_t width, int threads, const Finish& finish) {
    const std::int64_t* offset = graph.offset.data();
    const auto total = [&](std::int64_t i) { return offset[i]; };
    by_cost(threads, graph.nodes(), total, [&](std::int64_t begin, std::int64_t end) {
        each_sum(table, width, Piece{graph.neighbour.data(), offset + begin, end - begin},
                 [&](std::int64_t i, float* sum) { finish(begin + i, sum); });
    });
}

// As `each_sum` where row i adds what `list(i, out)` appends, some rows at a time so that they can be fetched ahead.
template <class S, class List, class Finish>
void listed_sums(const S* table, std::int64_t width, std::int64_t begin, std::int64_t end, const List& list,
                 const Finish& finish) {
    constexpr std::int64_t kTogether = 128;
    std::vector<std::int32_t> from;
    std::int64_t offset[kTogether + 1] = {0};
    for (std::int64_t first = begin; first < end; first += kTogether) {
        const std::int64_t rows = std::min(kTogether, end - first);
        std::size_t used = 0;
        for (std::int64_t i = 0; i < rows; ++i) {
            used = list(first + i, from, used);
            offset[i + 1] = static_cast<std::int64_t>(used);
        }
        each_sum(table, width, Piece{from.data(), offset, rows},
                 [&](std::int64_t i, float* sum) { finish(first + i, sum); });
    }
}

inline std::int32_t* room(std::vector<std::int32_t>& from, std::size_t used, std::int64_t more) {
    if (from.size() < used + static_cast<std::size_t>(more)) from.resize(2 * (used + static_cast<std::size_t>(more)));
    return from.data() + used;
}

// The two tables of users and items, read as one of N rows.
template <class T>
struct Pair {
    T* user;
    T* item;
    std::int64_t users, width;
    T* row(std::int64_t r) const { return r < users ? user + r * width : item + (r - users) * width; }
};

template <class Array>
auto paired(const Array& user, const Array& item, std::int64_t nodes, std::int64_t width) {
    want(static_cast<std::int64_t>(user.shape(0) + item.shape(0)) == nodes &&
             static_cast<std::int64_t>(user.shape(1)) == width && static_cast<std::int64_t>(item.shape(1)) == width,
         "graph: users and items together must be the nodes of the graph, all of one width");
    using T = std::remove_pointer_t<decltype(user.data())>;
    return Pair<T>{user.data(), item.data(), static_cast<std::int64_t>(user.shape(0)), width};
}

template <class S>
void want_states(const Graph& graph, const Out<S, 3>& states, std::int64_t width) {
    want(static_cast<std::int64_t>(states.shape(1)) == graph.nodes() &&
             static_cast<std::int64_t>(states.shape(2)) == padded(width),
         "graph: wanted states [H, N, D rounded up to 16]");
}

// y = D^-1/2 A D^-1/2 x, all floats.
static void multiply(const Graph& graph, In<float, 2> x, Out<float, 2> y, Out<float, 2> scratch, int threads) {
    const std::int64_t n = graph.nodes(), width = x.shape(1), wide = padded(width);
    want(static_cast<std::int64_t>(x.shape(0)) == n && y.shape(0) == x.shape(0) && y.shape(1) == x.shape(1),
         "multiply: x and y need a row a node and one width");
    want(static_cast<std::int64_t>(scratch.shape(0)) == n && static_cast<std::int64_t>(scratch.shape(1)) == wide,
         "multiply: scratch needs a row a node, D rounded up to 16 wide");
    const float* scale = graph.scale.data();
    float* state = scratch.data();
    nb::gil_scoped_release free;
    parallel(threads, n, 1024, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
            set_state(scale[r], x.data() + r * width, width, state + r * wide);
        }
    });
    all_sums(graph, state, wide, threads, [&](std::int64_t r, const float* sum) {
        float* out = y.data() + r * width;
        for (std::int64_t d = 0; d < width; d += kColumns) store16(scale[r] * load16(sum + d), out + d, width - d);
    });
}

// states[0] = D^-1/2 E_0
template <class S>
void begin_states(const Graph& graph, In<float, 2> user, In<float, 2> item, Out<S, 3> states, int threads) {
    const std::int64_t n = graph.nodes(), width = user.shape(1), wide = padded(width);
    const auto start = paired(user, item, n, width);
    want_states(graph, states, width);
    if (states.shape(0) == 0) return;
    const float* scale = graph.scale.data();
    S* state = states.data();
    nb::gil_scoped_release free;
    parallel(threads, n, 1024, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
            set_state(scale[r], start.row(r), width, state + r * wide);
        }
    });
}

// states[h + 1] = D^-1 A states[h]
template <class S>
void propagate(const Graph& graph, Out<S, 3> states, int threads) {
    const std::int64_t n = graph.nodes(), wide = states.shape(2);
    want(static_cast<std::int64_t>(states.shape(1)) == n && wide % 16 == 0,
         "propagate: wanted states [H, N, a multiple of 16]");
    const float* scale = graph.scale.data();
    nb::gil_scoped_release free;
    for (std::size_t hop = 1; hop < states.shape(0); ++hop) {
        const S* table = states.data() + (hop - 1) * n * wide;
        S* next = states.data() + hop * n * wide;
        all_sums(graph, table, wide, threads, [&](std::int64_t r, const float* sum) {
            S* out = next + r * wide;
            set_state(scale[r] * scale[r], sum, wide, out);
        });
    }
}

// pooled[r] = (E_0 + .. + E_H)[r] / (H + 1) for the chosen rows; the last layer exists for them alone.
template <class S>
void pool_rows(const Graph& graph, In<float, 2> user, In<float, 2> item, Out<S, 3> states, In<std::int32_t, 1> rows,
               Out<float, 2> pooled, int threads) {
    const std::int64_t nodes = graph.nodes(), width = user.shape(1), wide = padded(width), many = rows.shape(0);
    const auto start = paired(user, item, nodes, width);
    want_states(graph, states, width);
    want(static_cast<std::int64_t>(pooled.shape(0)) == nodes && static_cast<std::int64_t>(pooled.shape(1)) == width,
         "pool_rows: pooled needs a row a node");
    const std::int32_t* place = rows.data();
    bool inside = true;
    for (std::int64_t i = 0; i < many; ++i) inside &= static_cast<std::uint32_t>(place[i]) < nodes;
    want(inside, "pool_rows: a row is no node");
    const float* scale = graph.scale.data();
    const std::int64_t *offset = graph.offset.data(), hops = states.shape(0);
    const std::int32_t* neighbour = graph.neighbour.data();
    const S* state = states.data();
    const float share = 1.0f / static_cast<float>(hops + 1);
    nb::gil_scoped_release free;
    const auto finish = [&](std::int64_t i, const float* sum) {
        const std::int64_t r = place[i];
        const float *row = start.row(r), back = scale[r] > 0 ? 1.0f / scale[r] : 0.0f;
        float* out = pooled.data() + r * width;
        for (std::int64_t d = 0; d < width; d += kColumns) {
            Block mean = load16(row + d, width - d) + scale[r] * load16(sum + d);
            for (std::int64_t hop = 1; hop < hops; ++hop)
                mean = mean + back * load16(state + (hop * nodes + r) * wide + d);
            store16(share * mean, out + d, width - d);
        }
    };
    // beside the neighbours it fetches what `finish` will read, and the next rows' lists of neighbours
    const auto list = [&](std::int64_t i, std::vector<std::int32_t>& from, std::size_t used) {
        if (i + 4 < many) fetch(neighbour + offset[place[i + 4]], 128);
        const std::int64_t r = place[i], degree = offset[r + 1] - offset[r];
        std::copy_n(neighbour + offset[r], degree, room(from, used, degree));
        fetch(start.row(r), width * 4);
        for (std::int64_t hop = 1; hop < hops; ++hop) fetch(state + (hop * nodes + r) * wide, wide * sizeof(S));
        return used + static_cast<std::size_t>(degree);
    };
    std::vector<std::int64_t> total(static_cast<std::size_t>(many) + 1);
    for (std::int64_t i = 0; i < many; ++i) total[i + 1] = total[i] + offset[place[i] + 1] - offset[place[i]];
    const auto before = [&](std::int64_t i) { return total[i]; };
    by_cost(threads, many, before, [&](std::int64_t begin, std::int64_t end) {
        if (hops == 0) {
            const std::vector<float> none(static_cast<std::size_t>(wide));
            for (std::int64_t i = begin; i < end; ++i) finish(i, none.data());
            return;
        }
        listed_sums(state + (hops - 1) * nodes * wide, wide, begin, end, list, finish);
    });
}

// Appends the distinct nodes that have no slot yet, ascending, to rows[count ..]; their slots are count, count + 1, ..
static std::int64_t collect(In<std::int64_t, 1> nodes, Out<std::int32_t, 1> slot, Out<std::int32_t, 1> rows,
                            std::int64_t count) {
    const std::int64_t n = slot.shape(0), many = nodes.shape(0);
    const std::int64_t* node = nodes.data();
    want(n <= INT32_MAX && rows.shape(0) == slot.shape(0) && count >= 0, "collect: rows needs a place a node");
    bool inside = true;
    for (std::int64_t i = 0; i < many; ++i) inside &= 0 <= node[i] && node[i] < n;
    want(inside, "collect: an id is no node");
    nb::gil_scoped_release free;
    std::vector<std::uint64_t> wanted(static_cast<std::size_t>((n + 63) / 64));
    for (std::int64_t i = 0; i < many; ++i)
        if (slot.data()[node[i]] < 0) wanted[node[i] >> 6] |= 1ull << (node[i] & 63);
    for (std::size_t at = 0; at < wanted.size(); ++at)
        for (std::uint64_t bits = wanted[at]; bits; bits &= bits - 1) {
            const auto r = static_cast<std::int32_t>(at * 64 + static_cast<std::size_t>(__builtin_ctzll(bits)));
            slot.data()[r] = static_cast<std::int32_t>(count);
            rows.data()[count++] = r;
        }
    return count;
}

// gradient[slot] of the pooled rows, from those of the scores: of the positive `d_positive [B]`, of negatives [B, K].
static void scatter(In<float, 2> pooled, In<std::int64_t, 1> user, In<std::int64_t, 1> item,
                    In<std::int64_t, 2> negative, In<float, 1> d_positive, In<float, 2> d_negative,
                    In<std::int32_t, 1> slot, Out<float, 2> gradient, int threads) {
    const std::int64_t rows = user.shape(0), many = negative.shape(1), width = pooled.shape(1), n = pooled.shape(0);
    const std::int64_t slots = gradient.shape(0);
    want(item.shape(0) == user.shape(0) && negative.shape(0) == user.shape(0) && d_positive.shape(0) == user.shape(0) &&
             d_negative.shape(0) == user.shape(0) && d_negative.shape(1) == negative.shape(1),
         "scatter: wanted one user, item and row of negatives a row");
    want(static_cast<std::int64_t>(slot.shape(0)) == n && static_cast<std::int64_t>(gradient.shape(1)) == width,
         "scatter: wanted a slot a node and gradients as wide as the pooled rows");
    const auto known = [&](std::int64_t node) {
        return static_cast<std::uint64_t>(node) < static_cast<std::uint64_t>(n) &&
               static_cast<std::uint32_t>(slot.data()[node]) < static_cast<std::uint64_t>(slots);
    };
    bool inside = true;
    for (std::int64_t b = 0; b < rows; ++b) inside &= known(user.data()[b]) && known(item.data()[b]);
    for (std::int64_t i = 0; i < rows * many; ++i) inside &= known(negative.data()[i]);
    want(inside, "scatter: a node has no slot");
    nb::gil_scoped_release free;
    // a thread owns the slots that are its number modulo theirs, and adds to each in the order of the batch
    const int parts = rows * (many + 1) < 1024 ? 1 : std::max(1, threads);
    Pool::shared().run(parts, [&](int part) {
        for (std::int64_t s = part; s < slots; s += parts) std::fill_n(gradient.data() + s * width, width, 0.0f);
        const auto add_to = [&](std::int64_t to, float factor, std::int64_t source) {
            const std::int64_t s = slot.data()[to];
            if (s % parts != part) return;
            float* out = gradient.data() + s * width;
            const float* row = pooled.data() + source * width;
            for (std::int64_t d = 0; d < width; d += kColumns) {
                const std::int64_t left = width - d;
                store16(load16(out + d, left) + factor * load16(row + d, left), out + d, left);
            }
        };
        for (std::int64_t b = 0; b < rows; ++b) {
            const std::int64_t u = user.data()[b], i = item.data()[b];
            add_to(u, d_positive.data()[b], i);
            add_to(i, d_positive.data()[b], u);
            for (std::int64_t k = b * many; k < (b + 1) * many; ++k) {
                const std::int64_t j = negative.data()[k];
                const float slope = d_negative.data()[k];
                if (slope == 0.0f) continue;
                add_to(u, slope, j);
                add_to(j, slope, u);
            }
        }
    });
}

// What the pooled rows' gradient is: gradient[slot[r]], and 0 for a row without a slot. `decay` is L2's factor of E_0.
struct Seeds {
    const std::int32_t *rows, *slot;
    const float *gradient, *decay;
    std::int64_t many;
};

static Seeds seeded(const Graph& graph, const In<std::int32_t, 1>& rows, const In<std::int32_t, 1>& slot,
                    const In<float, 2>& gradient, const In<float, 1>& decay, std::int64_t width) {
    const std::int64_t n = graph.nodes(), many = rows.shape(0);
    want(static_cast<std::int64_t>(slot.shape(0)) == n, "backward: wanted a slot a node");
    want(gradient.shape(0) == rows.shape(0) && static_cast<std::int64_t>(gradient.shape(1)) == width &&
             decay.shape(0) == rows.shape(0),
         "backward: wanted a gradient and a decay a row");
    bool inside = true, own = true;
    for (std::int64_t i = 0; i < many; ++i) inside &= static_cast<std::uint32_t>(rows.data()[i]) < n;
    want(inside, "backward: a row is no node");
    std::int64_t filled = 0;
    for (std::int64_t i = 0; i < many; ++i) own &= slot.data()[rows.data()[i]] == i;
    for (std::int64_t r = 0; r < n; ++r) filled += slot.data()[r] >= 0;
    want(own && filled == many, "backward: the slots must be the rows' places, and no others");
    return Seeds{rows.data(), slot.data(), gradient.data(), decay.data(), many};
}

template <class S>
void want_scratch(const Graph& graph, const Out<S, 3>& states, const Out<S, 2>& scratch,
                  const In<std::int32_t, 1>& rows, std::int64_t width) {
    want_states(graph, states, width);
    want(states.shape(0) == 0 || (scratch.shape(0) >= rows.shape(0) &&
                                  static_cast<std::int64_t>(scratch.shape(1)) == padded(width)),
         "backward: scratch needs a row a seed, D rounded up to 16 wide");
}

// finish(r, g + A g + .. + A^H g) for every node, by Horner's rule; states 1 .. H - 1 are overwritten.
// The sum is nullptr where it is 0 for sure.
template <class S, class Finish>
void back(const Graph& graph, const Out<S, 3>& states, const Out<S, 2>& scratch, const Seeds& seeds,
          std::int64_t width, int threads, const Finish& finish) {
    const std::int64_t n = graph.nodes(), wide = padded(width), hops = states.shape(0);
    const std::int64_t* offset = graph.offset.data();
    const std::int32_t* neighbour = graph.neighbour.data();
    const float* scale = graph.scale.data();
    const auto own = [&](std::int64_t r) {
        return seeds.slot[r] < 0 ? nullptr : seeds.gradient + seeds.slot[r] * width;
    };
    if (hops == 0) {
        parallel(threads, n, 1024, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r) finish(r, own(r));
        });
        return;
    }
    S* seed = scratch.data();
    parallel(threads, seeds.many, 512, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const float *row = seeds.gradient + i * width, factor = scale[seeds.rows[i]];
            set_state(factor, row, width, seed + i * wide);
        }
    });
    const auto keep = [&](std::int64_t hop) {
        S* state = states.data() + hop * n * wide;
        return [=](std::int64_t r, const float* sum) {
            const float factor = scale[r], square = factor * factor;
            S* out = state + r * wide;
            const float* g = own(r);
            if (g == nullptr) return set_state(square, sum, wide, out);
            for (std::int64_t d = 0; d < width; d += kColumns)
                store16(factor * load16(g + d, width - d) + square * load16(sum + d), out + d);
        };
    };
    const auto close = [&](std::int64_t r, float* sum) {
        const float factor = scale[r];
        const float* g = own(r);
        if (g == nullptr)
            set_state(factor, sum, wide, sum);
        else
            for (std::int64_t d = 0; d < width; d += kColumns)
                store16(load16(g + d, width - d) + factor * load16(sum + d), sum + d);
        finish(r, sum);
    };
    // the first product has few rows to add: those with a slot, which a bit a node tells from within the nearest cache
    std::vector<std::uint64_t> active(static_cast<std::size_t>((n + 63) / 64));
    for (std::int64_t i = 0; i < seeds.many; ++i) active[seeds.rows[i] >> 6] |= 1ull << (seeds.rows[i] & 63);
    const auto list = [&](std::int64_t r, std::vector<std::int32_t>& from, std::size_t used) {
        std::int32_t* out = room(from, used, offset[r + 1] - offset[r]);
        std::size_t found = 0;
        for (std::int64_t k = offset[r]; k < offset[r + 1]; ++k) {
            out[found] = neighbour[k];
            found += active[neighbour[k] >> 6] >> (neighbour[k] & 63) & 1;
        }
        for (std::size_t i = 0; i < found; ++i) out[i] = seeds.slot[out[i]];
        return used + found;
    };
    const auto first = [&](const auto& done) {
        const auto total = [&](std::int64_t i) { return offset[i]; };
        by_cost(threads, n, total, [&](std::int64_t begin, std::int64_t end) {
            listed_sums(seed, wide, begin, end, list, done);
        });
    };
    if (hops == 1) return first(close);
    first(keep(1));
    for (std::int64_t hop = 2; hop < hops; ++hop)
        all_sums(graph, states.data() + (hop - 1) * n * wide, wide, threads, keep(hop));
    all_sums(graph, states.data() + (hops - 1) * n * wide, wide, threads, close);
}

// out = dL/dE_0 where L is a mean loss of pooled rows with the gradient given, and decay / 2 |E_0|^2 of the same rows.
template <class S>
void gradient(const Graph& graph, Out<S, 3> states, Out<S, 2> scratch, In<std::int32_t, 1> rows,
              In<std::int32_t, 1> slot, In<float, 2> pooled_gradient, In<float, 1> decay, In<float, 2> user,
              In<float, 2> item, Out<float, 2> out_user, Out<float, 2> out_item, int threads) {
    const std::int64_t n = graph.nodes(), width = user.shape(1);
    const auto start = paired(user, item, n, width);
    const auto out = paired(out_user, out_item, n, width);
    want_scratch(graph, states, scratch, rows, width);
    want(out.users == start.users, "gradient: wanted a gradient a parameter");
    const Seeds seeds = seeded(graph, rows, slot, pooled_gradient, decay, width);
    const float share = 1.0f / static_cast<float>(states.shape(0) + 1);
    nb::gil_scoped_release free;
    back(graph, states, scratch, seeds, width, threads, [&](std::int64_t r, const float* total) {
        float* target = out.row(r);
        const float* row = start.row(r);
        const float pull = seeds.slot[r] < 0 ? 0.0f : seeds.decay[seeds.slot[r]];
        if (total == nullptr) return static_cast<void>(std::fill_n(target, width, 0.0f));
        for (std::int64_t d = 0; d < width; d += kColumns) {
            const std::int64_t left = width - d;
            store16(share * load16(total + d, left) + pull * load16(row + d, left), target + d, left);
        }
    });
}

// One step of Adam along `gradient`, which never reaches memory; states[0] becomes that of the new parameters.
template <class S>
void descend(const Graph& graph, Out<S, 3> states, Out<S, 2> scratch, In<std::int32_t, 1> rows,
             In<std::int32_t, 1> slot, In<float, 2> pooled_gradient, In<float, 1> decay, Out<float, 2> user,
             Out<float, 2> item, Out<float, 2> mean_user, Out<float, 2> mean_item, Out<float, 2> square_user,
             Out<float, 2> square_item, double lr, double beta1, double beta2, double eps, double weight_decay,
             double step, int threads) {
    const std::int64_t n = graph.nodes(), width = user.shape(1), wide = padded(width), hops = states.shape(0);
    const auto start = paired(user, item, n, width);
    const auto mean = paired(mean_user, mean_item, n, width), square = paired(square_user, square_item, n, width);
    want_scratch(graph, states, scratch, rows, width);
    want(mean.users == start.users && square.users == start.users, "descend: wanted two moments a parameter");
    const Seeds seeds = seeded(graph, rows, slot, pooled_gradient, decay, width);
    const float share = 1.0f / static_cast<float>(hops + 1);
    const float *scale = graph.scale.data(), least = static_cast<float>(eps), shrink = static_cast<float>(weight_decay);
    const float first = static_cast<float>(1 - beta1), second = static_cast<float>(1 - beta2);
    const float keep = static_cast<float>(beta2);
    const float rate = static_cast<float>(lr / (1 - std::pow(beta1, step)));
    const float bias = static_cast<float>(std::sqrt(1 - std::pow(beta2, step)));
    const std::vector<float> none(static_cast<std::size_t>(width));
    S* state = states.data();
    nb::gil_scoped_release free;
    back(graph, states, scratch, seeds, width, threads, [&](std::int64_t r, const float* found) {
        float *p = start.row(r), *m = mean.row(r), *v = square.row(r);
        const float* total = found ? found : none.data();
        const float pull = shrink + (seeds.slot[r] < 0 ? 0.0f : seeds.decay[seeds.slot[r]]);
        for (std::int64_t d = 0; d < width; d += kColumns) {
            const std::int64_t left = width - d;
            const Block old = load16(p + d, left), g = share * load16(total + d, left) + pull * old;
            const Block before = load16(m + d, left), m_now = before + first * (g - before);
            const Block v_now = keep * load16(v + d, left) + second * (g * g);
            const Block now = old - rate * m_now / (root(v_now) / every(bias) + every(least));
            store16(m_now, m + d, left);
            store16(v_now, v + d, left);
            store16(now, p + d, left);
            if (hops > 0) store16(scale[r] * now, state + r * wide + d);
        }
    });
}

template <class S>
void bind_states(nb::module_& m) {
    using namespace nb::literals;
    m.def("begin_states", &begin_states<S>, "graph"_a, "user"_a, "item"_a, "states"_a, "threads"_a);
    m.def("propagate", &propagate<S>, "graph"_a, "states"_a, "threads"_a);
    m.def("pool_rows", &pool_rows<S>, "graph"_a, "user"_a, "item"_a, "states"_a, "rows"_a, "pooled"_a, "threads"_a);
    m.def("gradient", &gradient<S>, "graph"_a, "states"_a, "scratch"_a, "rows"_a, "slot"_a, "pooled_gradient"_a,
          "decay"_a, "user"_a, "item"_a, "out_user"_a, "out_item"_a, "threads"_a);
    m.def("descend", &descend<S>, "graph"_a, "states"_a, "scratch"_a, "rows"_a, "slot"_a, "pooled_gradient"_a,
          "decay"_a, "user"_a, "item"_a, "mean_user"_a, "mean_item"_a, "square_user"_a, "square_item"_a, "lr"_a,
          "beta1"_a, "beta2"_a, "eps"_a, "weight_decay"_a, "step"_a, "threads"_a);
}

void bind_graph(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Graph>(m, "Graph")
        .def(nb::init<In<std::int64_t, 1>, In<std::int32_t, 1>, In<float, 1>>(), "offset"_a, "neighbour"_a, "scale"_a);
    m.def("multiply", &multiply, "graph"_a, "x"_a, "y"_a, "scratch"_a, "threads"_a);
    m.def("collect", &collect, "nodes"_a, "slot"_a, "rows"_a, "count"_a);
    m.def("scatter", &scatter, "pooled"_a, "user"_a, "item"_a, "negative"_a, "d_positive"_a, "d_negative"_a, "slot"_a,
          "gradient"_a, "threads"_a);
    bind_states<float>(m);
    bind_states<Brief>(m);
}

}  // namespace negsieve
