// Causal self-attention over windows of tokens that lie end to end, without a gradient. Twin: kernels/attention.py.
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
    float* out;
    const float *pad_key, *pad_value;  // what zero tokens before the window have, or null
    float pad_weight;                  // the logarithm of how many there are
};

template <int D>
static void attend(const Head& head, std::int64_t tokens, std::int64_t depth, float* __restrict share) {
    const std::int64_t d = D > 0 ? D : depth, width = head.width;
    const float *key = head.known, *value = head.known + width;
    for (std::int64_t i = 0; i < tokens; ++i) {
        const float* query = head.query + i * width;
        float most = -std::numeric_limits<float>::infinity(), pad = most;
        if (head.pad_key != nullptr) most = pad = dot<D>(query, head.pad_key, d) + head.pad_weight;
        for (std::int64_t j = 0; j <= i; ++j) {
            share[j] = dot<D>(query, key + j * 2 * width, d);
            most = std::max(most, share[j]);
        }
        pad = head.pad_key == nullptr ? 0.0f : std::exp(pad - most);
        float sum = pad;
        for (std::int64_t j = 0; j <= i; ++j) sum += share[j] = std::exp(share[j] - most);
        float* __restrict out = head.out + i * width;
        for (std::int64_t l = 0; l < d; ++l) out[l] = head.pad_key == nullptr ? 0.0f : pad * head.pad_value[l];
        for (std::int64_t j = 0; j <= i; ++j) {
            const float* __restrict one = value + j * 2 * width;
            for (std::int64_t l = 0; l < d; ++l) out[l] += share[j] * one[l];
        }
        for (std::int64_t l = 0; l < d; ++l) out[l] /= sum;
    }
}

// out[t] = what token t attends to among itself and those before it in its window; pad: [2, D], of key and value
static void causal_attention(In<float, 2> query, In<float, 2> known, In<std::int64_t, 1> length, std::int64_t heads,
                             std::optional<In<float, 2>> pad, std::int64_t pads, Out<float, 2> out, int threads) {
    const std::int64_t tokens = query.shape(0), width = query.shape(1), windows = length.shape(0);
    want(known.shape(0) == query.shape(0) && known.shape(1) == 2 * query.shape(1), "causal_attention: known needs [T, 2D]");
    want(out.shape(0) == query.shape(0) && out.shape(1) == query.shape(1), "causal_attention: out needs [T, D]");
    want(!pad || (pad->shape(0) == 2 && pad->shape(1) == query.shape(1)), "causal_attention: pad needs [2, D]");
    want(heads >= 1 && width % heads == 0, "causal_attention: heads must share the width evenly");
    std::vector<std::int64_t> start(static_cast<std::size_t>(windows) + 1);
    std::int64_t longest = 0;
    for (std::int64_t w = 0; w < windows; ++w) {
        want(length.data()[w] >= 0, "causal_attention: a window below 0 tokens");
        start[w + 1] = start[w] + length.data()[w];
        longest = std::max(longest, length.data()[w]);
    }
    want(start[windows] == tokens, "causal_attention: the windows' lengths must sum to the tokens");
    const float *asks = query.data(), *knows = known.data(), *pad_key = pad ? pad->data() : nullptr;
    float* target = out.data();
    const std::int64_t depth = width / heads;
    nb::gil_scoped_release free;
    parallel(threads, windows, 16, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> share(static_cast<std::size_t>(longest));
        with_width(depth, [&](auto d) {
            for (std::int64_t w = begin; w < end; ++w)
                for (std::int64_t h = 0; h < heads; ++h) {
                    const std::int64_t own = start[w + 1] - start[w], at = h * depth;
                    const float count = static_cast<float>(std::max<std::int64_t>(0, pads - own));
                    const Head head = {asks + start[w] * width + at,
                                       knows + start[w] * 2 * width + at,
                                       width,
                                       target + start[w] * width + at,
                                       pad_key == nullptr ? nullptr : pad_key + at,
                                       pad_key == nullptr ? nullptr : pad_key + width + at,
                                       std::log(count)};
                    attend<decltype(d)::value>(head, own, depth, share.data());
                }
        });
    });
}

void bind_attention(nb::module_& m) {
    using namespace nb::literals;
    m.def("causal_attention", &causal_attention, "query"_a, "known"_a, "length"_a, "heads"_a, "pad"_a.none(), "pads"_a,
          "out"_a, "threads"_a);
}

}  // namespace negsieve
