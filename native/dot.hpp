// Dot products of float rows, whose sums are always taken in one order: sixteen lanes, then a fixed tree.
//
// Whoever rates an item by these gets the same bits, in whatever kernel: a fused choice equals the one by stored scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace negsieve {

constexpr int kLanes = 16;  // two AVX2 registers: enough chains of sums to hide the latency of one

// Written out: compilers make of the loop over halves a loop, and of its lanes memory.
inline float folded(const float* lane) {
    float eight[8], four[4];
    for (int l = 0; l < 8; ++l) eight[l] = lane[l] + lane[l + 8];
    for (int l = 0; l < 4; ++l) four[l] = eight[l] + eight[l + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

// <a, b>. D is the width where it is known at compile time, else 0.
template <int D>
inline float dot(const float* a, const float* b, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width;
    float lane[kLanes] = {};
    std::int64_t at = 0;
    for (; at + kLanes <= n; at += kLanes)
        for (int l = 0; l < kLanes; ++l) lane[l] += a[at + l] * b[at + l];
    for (int l = 0; at + l < n; ++l) lane[l] += a[at + l] * b[at + l];
    return folded(lane);
}

// <a, b / |b|>, the norm held above 1e-12 as torch's normalize does.
template <int D>
inline float cosine(const float* a, const float* b, std::int64_t width) {
    return dot<D>(a, b, width) / std::max(std::sqrt(dot<D>(b, b, width)), 1e-12f);
}

// Calls body(std::integral_constant<int, D>) with D the width if kernels are compiled for it, else 0.
template <class Body>
inline void with_width(std::int64_t width, const Body& body) {
    switch (width) {
        case 32: return body(std::integral_constant<int, 32>{});
        case 64: return body(std::integral_constant<int, 64>{});
        case 128: return body(std::integral_constant<int, 128>{});
        case 256: return body(std::integral_constant<int, 256>{});
        default: return body(std::integral_constant<int, 0>{});
    }
}

// Asks for a row's cache lines before they are needed; any address will do, even one outside the table.
//
// Whatever does nothing but this must be inlined by force: GCC holds a prefetch for no effect, and drops calls to it.
[[gnu::always_inline]] inline void prefetch_row(const float* row, std::int64_t width) {
    const char* line = reinterpret_cast<const char*>(row);
    for (std::int64_t at = 0; at < width * 4; at += 64) __builtin_prefetch(line + at);
}

// Raises IndexError unless every id is one of 0 .. n - 1.
inline void want_ids(const std::int64_t* id, std::int64_t many, std::int64_t n, const char* what) {
    bool outside = false;
    for (std::int64_t k = 0; k < many; ++k) outside |= static_cast<std::uint64_t>(id[k]) >= static_cast<std::uint64_t>(n);
    if (!outside) return;
    for (std::int64_t k = 0; k < many; ++k)
        if (id[k] < 0 || id[k] >= n)
            throw std::out_of_range(std::string(what) + " " + std::to_string(id[k]) + ", wanted 0.." +
                                    std::to_string(n - 1));
}

}  // namespace negsieve
