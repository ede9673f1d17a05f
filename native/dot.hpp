// Dot products of float rows, whose sums are always taken in one order: sixteen lanes, then a fixed tree.
//
// Whoever rates an item by these gets the same bits, in whatever kernel: a fused choice equals the one by stored scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace negsieve {

constexpr int kLanes = 16;  // two AVX2 registers: enough chains of sums to hide the latency of one

// Vectors of the notation that GCC and Clang share: left to themselves, compilers take the tree apart into scalars.
typedef float Eight __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));
typedef float AnyEight __attribute__((vector_size(32), aligned(4), may_alias));  // wherever eight floats lie
typedef float AnyFour __attribute__((vector_size(16), aligned(4), may_alias));

[[gnu::always_inline]] inline float folded(const Eight& low, const Eight& high) {
    const Eight eight = low + high;
    const AnyFour* half = reinterpret_cast<const AnyFour*>(&eight);
    const Four four = half[0] + half[1];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

inline float folded(const float* lane) {
    Eight low, high;  // copies: floats are where a reference to Eight may not point
    std::memcpy(&low, lane, sizeof low);
    std::memcpy(&high, lane + 8, sizeof high);
    return folded(low, high);
}

// <a, b>. D is the width where it is known at compile time, else 0.
template <int D>
inline float dot(const float* a, const float* b, std::int64_t width) {
    const std::int64_t n = D > 0 ? D : width, whole = n - n % kLanes;
    Eight low = {}, high = {};
    for (std::int64_t at = 0; at < whole; at += kLanes) {
        const AnyEight *one = reinterpret_cast<const AnyEight*>(a + at), *other = reinterpret_cast<const AnyEight*>(b + at);
        low += one[0] * other[0];
        high += one[1] * other[1];
    }
    if (D > 0 && D % kLanes == 0) return folded(low, high);
    float lane[kLanes];
    std::memcpy(lane, &low, sizeof low);
    std::memcpy(lane + 8, &high, sizeof high);
    for (std::int64_t l = 0; whole + l < n; ++l) lane[l] += a[whole + l] * b[whole + l];
    return folded(lane);
}

// <a[0], b> .. <a[3], b>, each to the bit what dot gives: b is read once for all of them.
template <int D>
inline void four_dots(const float* const* a, const float* b, std::int64_t width, float* out, std::int64_t stride) {
    if (D == 0 || D % kLanes != 0) {
        for (int r = 0; r < 4; ++r) out[r * stride] = dot<D>(a[r], b, width);
        return;
    }
    Eight low0 = {}, low1 = {}, low2 = {}, low3 = {}, high0 = {}, high1 = {}, high2 = {}, high3 = {};
    const auto at = [](const float* row, std::int64_t l) { return reinterpret_cast<const AnyEight*>(row + l); };
    for (std::int64_t l = 0; l < D; l += kLanes) {
        const Eight left = *at(b, l), right = *at(b, l + 8);
        low0 += *at(a[0], l) * left;
        high0 += *at(a[0], l + 8) * right;
        low1 += *at(a[1], l) * left;
        high1 += *at(a[1], l + 8) * right;
        low2 += *at(a[2], l) * left;
        high2 += *at(a[2], l + 8) * right;
        low3 += *at(a[3], l) * left;
        high3 += *at(a[3], l + 8) * right;
    }
    out[0] = folded(low0, high0);
    out[stride] = folded(low1, high1);
    out[2 * stride] = folded(low2, high2);
    out[3 * stride] = folded(low3, high3);
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

// Asks for a row's cache lines before they are needed; any address will do, even one outside the table. Into the second
// cache: the first waits for few lines at a time, some rows of them, and holds up whoever asks for more.
//
// Whatever does nothing but this must be inlined by force: GCC holds a prefetch for no effect, and drops calls to it.
[[gnu::always_inline]] inline void prefetch_row(const float* row, std::int64_t width) {
    const char* line = reinterpret_cast<const char*>(row);
    for (std::int64_t at = 0; at < width * 4; at += 64) __builtin_prefetch(line + at, 0, 2);
}

}  // namespace negsieve
