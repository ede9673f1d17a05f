// Sixteen columns at a time in vector types, which the compiler splits where registers are shorter.
//
// Tables hold floats, or bfloat16 as the upper halves of floats; what is computed is floats.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace negsieve {

// bfloat16: the sign, exponent and first 7 fraction bits of a float.
using Brief = std::int16_t;

// No `auto` for pointers to these: deduction forgets that rows begin at any float.
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef std::uint32_t Bits __attribute__((vector_size(32), aligned(4), may_alias));
typedef std::uint16_t Halves __attribute__((vector_size(16), aligned(2), may_alias));

constexpr std::int64_t kColumns = 16;

inline std::int64_t padded(std::int64_t width) { return (width + kColumns - 1) / kColumns * kColumns; }

struct Block {
    Eight low, high;
};

[[gnu::always_inline]] inline Block operator*(float a, const Block& x) { return {a * x.low, a * x.high}; }
[[gnu::always_inline]] inline Block operator*(const Block& x, const Block& y) {
    return {x.low * y.low, x.high * y.high};
}
[[gnu::always_inline]] inline Block operator/(const Block& x, const Block& y) {
    return {x.low / y.low, x.high / y.high};
}
[[gnu::always_inline]] inline Block operator+(const Block& x, const Block& y) {
    return {x.low + y.low, x.high + y.high};
}
[[gnu::always_inline]] inline Block operator-(const Block& x, const Block& y) {
    return {x.low - y.low, x.high - y.high};
}

[[gnu::always_inline]] inline Block every(float value) {
    const Eight none = {};
    return {none + value, none + value};
}

[[gnu::always_inline]] inline Block root(const Block& x) {
    Block out;
    for (int i = 0; i < 8; ++i) out.low[i] = std::sqrt(x.low[i]);
    for (int i = 0; i < 8; ++i) out.high[i] = std::sqrt(x.high[i]);
    return out;
}

[[gnu::always_inline]] inline Block load16(const float* x) {
    const Eight* at = reinterpret_cast<const Eight*>(x);
    return {at[0], at[1]};
}

[[gnu::always_inline]] inline Block load16(const Brief* x) {
    const Halves* at = reinterpret_cast<const Halves*>(x);
    return {reinterpret_cast<Eight>(__builtin_convertvector(at[0], Bits) << 16),
            reinterpret_cast<Eight>(__builtin_convertvector(at[1], Bits) << 16)};
}

[[gnu::always_inline]] inline void store16(const Block& x, float* out) {
    Eight* at = reinterpret_cast<Eight*>(out);
    at[0] = x.low;
    at[1] = x.high;
}

// To the nearest, ties to even; infinities and the processor's NaN stay what they are.
[[gnu::always_inline]] inline Halves rounded(const Eight& x) {
    const Bits bits = reinterpret_cast<Bits>(x);
    return __builtin_convertvector((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, Halves);
}

[[gnu::always_inline]] inline void store16(const Block& x, Brief* out) {
    Halves* at = reinterpret_cast<Halves*>(out);
    at[0] = rounded(x.low);
    at[1] = rounded(x.high);
}

// As many columns as a row has left: 16, or the last few of it, where the others are 0.
template <class S>
[[gnu::always_inline]] inline Block load16(const S* x, std::int64_t n) {
    if (n >= kColumns) return load16(x);
    S some[kColumns] = {};
    std::memcpy(some, x, static_cast<std::size_t>(n) * sizeof(S));
    return load16(some);
}

template <class S>
[[gnu::always_inline]] inline void store16(const Block& x, S* out, std::int64_t n) {
    if (n >= kColumns) return store16(x, out);
    S some[kColumns];
    store16(x, some);
    std::memcpy(out, some, static_cast<std::size_t>(n) * sizeof(S));
}

// A state: factor * x for the `width` columns of x, zeros up to the padded width.
template <class S>
inline void set_state(float factor, const float* x, std::int64_t width, S* out) {
    for (std::int64_t d = 0; d < width; d += kColumns) store16(factor * load16(x + d, width - d), out + d);
}

[[gnu::always_inline]] inline void fetch(const void* row, std::int64_t bytes) {
    for (std::int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(static_cast<const char*>(row) + byte);
}

}  // namespace negsieve
