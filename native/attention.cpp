// Causal self-attention over windows of tokens that lie end to end, without a gradient. Twin: kernels/attention.py.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "dot.hpp"
#include "pool.hpp"

namespace negsieve {

// One head of one window. Rows of query and out are `width` floats apart, those of known, keys beside values, twice that.
struct Head {
    const float *query, *known;
    std::int64_t width;
    const std::int64_t* at;  // the places in the window of the tokens that ask
    std::int64_t asking;
    float* out;
    const float *pad_key, *pad_value;  // what zero tokens before the window have, or null
    float pad_weight;                  // the logarithm of how many there are
};

template <int D>
static void attend(const Head& head, std::int64_t depth, float* __restrict share) {
    const std::int64_t d = D > 0 ? D : depth, width = head.width;
    const float *key = head.known, *value = head.known + width;
    for (std::int64_t n = 0; n < head.asking; ++n) {
        const std::int64_t last = head.at[n];
        const float* query = head.query + n * width;
        float most = -std::numeric_limits<float>::infinity(), pad = most;
        if (head.pad_key != nullptr) most = pad = dot<D>(query, head.pad_key, d) + head.pad_weight;
        for (std::int64_t j = 0; j <= last; ++j) {
            share[j] = dot<D>(query, key + j * 2 * width, d);
            most = std::max(most, share[j]);
        }
        pad = head.pad_key == nullptr ? 0.0f : std::exp(pad - most);
        float sum = pad;
        for (std::int64_t j = 0; j <= last; ++j) sum += share[j] = std::exp(share[j] - most);
        float* __restrict out = head.out + n * width;
        for (std::int64_t l = 0; l < d; ++l) out[l] = head.pad_key == nullptr ? 0.0f : pad * head.pad_value[l];
        for (std::int64_t j = 0; j <= last; ++j) {
            const float* __restrict one = value + j * 2 * width;
            for (std::int64_t l = 0; l < d; ++l) out[l] += share[j] * one[l];
        }
        for (std::int64_t l = 0; l < d; ++l) out[l] /= sum;
    }
}

// Where each window starts, and one behind the last.
static std::vector<std::int64_t> starts_of(const In<std::int64_t, 1>& length) {
    std::vector<std::int64_t> start(length.shape(0) + 1);
    for (std::size_t w = 0; w < length.shape(0); ++w) {
        want(length.data()[w] >= 0, "causal_attention: a window below 0 tokens");
        start[w + 1] = start[w] + length.data()[w];
    }
    return start;
}

// out[n] = what token at[n] attends to among itself and those before it in its window; pad: [2, D], of key and value
static void causal_attention(In<float, 2> query, In<float, 2> known, In<std::int64_t, 1> length,
                             In<std::int64_t, 1> at, std::int64_t heads, std::optional<In<float, 2>> pad,
                             std::int64_t pads, Out<float, 2> out, int threads) {
    const std::int64_t tokens = known.shape(0), width = query.shape(1), windows = length.shape(0);
    want(known.shape(1) == 2 * query.shape(1), "causal_attention: known needs [T, 2D]");
    want(out.shape(0) == query.shape(0) && out.shape(1) == query.shape(1), "causal_attention: out needs [N, D]");
    want(at.shape(0) == query.shape(0), "causal_attention: at needs a token a query");
    want(!pad || (pad->shape(0) == 2 && pad->shape(1) == query.shape(1)), "causal_attention: pad needs [2, D]");
    want(heads >= 1 && width % heads == 0, "causal_attention: heads must share the width evenly");
    const std::vector<std::int64_t> start = starts_of(length);
    want(start[windows] == tokens, "causal_attention: the windows' lengths must sum to the tokens");
    want_ids(at.data(), at.shape(0), tokens, "token");
    want(std::is_sorted(at.data(), at.data() + at.shape(0)), "causal_attention: tokens must ask in their order");
    const float *asks = query.data(), *knows = known.data(), *pad_key = pad ? pad->data() : nullptr;
    const std::int64_t *first = at.data(), *last = first + at.shape(0), depth = width / heads;
    float* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, windows, 16, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> share;
        std::vector<std::int64_t> place;
        const std::int64_t* one = std::lower_bound(first, last, start[begin]);
        for (std::int64_t w = begin; w < end; ++w) {
            const std::int64_t own = start[w + 1] - start[w], query_at = one - first;
            share.resize(static_cast<std::size_t>(own));
            place.clear();
            for (; one < last && *one < start[w + 1]; ++one) place.push_back(*one - start[w]);
            const float count = static_cast<float>(std::max<std::int64_t>(0, pads - own));
            for (std::int64_t column = 0; column < width; column += depth) {
                const Head head = {asks + query_at * width + column,
                                   knows + start[w] * 2 * width + column,
                                   width,
                                   place.data(),
                                   static_cast<std::int64_t>(place.size()),
                                   target + query_at * width + column,
                                   pad_key == nullptr ? nullptr : pad_key + column,
                                   pad_key == nullptr ? nullptr : pad_key + width + column,
                                   std::log(count)};
                with_width(depth, [&](auto d) { attend<decltype(d)::value>(head, depth, share.data()); });
            }
        }
    });
}

void bind_attention(nb::module_& m) {
    using namespace nb::literals;
    m.def("causal_attention", &causal_attention, "query"_a, "known"_a, "length"_a, "at"_a, "heads"_a, "pad"_a.none(), "pads"_a,
          "out"_a, "threads"_a);
}

}  // namespace negsieve
