// Sums of rows of a table, the inner loop of every graph product: 16 numbers at a time, rows fetched ahead of use.
//
// A table holds floats, or bfloat16 as the upper halves of floats; sums are floats. Its width is a multiple of 16.
#pragma once

#include <algorithm>
#include <cstdint>

#include "columns.hpp"

namespace negsieve {

constexpr std::int64_t kAhead = 64;  // rows fetched, into the second cache, before they are added

// Adds W columns of one row.
template <int W>
[[gnu::always_inline]] inline void add(const float* row, Eight* sum) {
#pragma GCC unroll 8
    for (int q = 0; q < W / 8; ++q) sum[q] += *reinterpret_cast<const Eight*>(row + 8 * q);
}

// A word holds two numbers: sum[2 q] takes the even columns of 16, sum[2 q + 1] the odd ones.
template <int W>
[[gnu::always_inline]] inline void add(const Brief* row, Eight* sum) {
#pragma GCC unroll 4
    for (int q = 0; q < W / 16; ++q) {
        const Bits word = *reinterpret_cast<const Bits*>(row + 16 * q);
        sum[2 * q] += reinterpret_cast<Eight>(word << 16);
        sum[2 * q + 1] += reinterpret_cast<Eight>(word & 0xffff0000u);
    }
}

template <int W>
[[gnu::always_inline]] inline void put(const Eight* sum, const float*, float* out) {
    for (int q = 0; q < W / 8; ++q) *reinterpret_cast<Eight*>(out + 8 * q) = sum[q];
}

template <int W>
[[gnu::always_inline]] inline void put(const Eight* sum, const Brief*, float* out) {
    for (int q = 0; q < W / 16; ++q) {
        const Eight even = sum[2 * q], odd = sum[2 * q + 1];
        Eight* to = reinterpret_cast<Eight*>(out + 16 * q);
        to[0] = __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
        to[1] = __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
    }
}

// out[0 .. W) = sum over k of table[from[k]][0 .. W); `last` is the last place of `from` that may be read.
template <int W, class S>
inline void sum_columns(const S* table, std::int64_t width, const std::int32_t* from, std::int64_t begin,
                        std::int64_t end, std::int64_t last, float* out) {
    Eight sum[W / 8] = {};
    for (std::int64_t k = begin; k < end; ++k) {
        const auto* next = reinterpret_cast<const char*>(table + from[std::min(k + kAhead, last)] * width);
        for (std::size_t byte = 0; byte < W * sizeof(S); byte += 64) __builtin_prefetch(next + byte, 0, 2);
        add<W>(table + from[k] * width, sum);
    }
    put<W>(sum, table, out);
}

// out[0 .. width) = the sum of rows from[begin .. end) of a table.
template <class S>
inline void sum_rows(const S* table, std::int64_t width, const std::int32_t* from, std::int64_t begin,
                     std::int64_t end, std::int64_t last, float* out) {
    std::int64_t column = 0;
    for (; column + 64 <= width; column += 64)
        sum_columns<64>(table + column, width, from, begin, end, last, out + column);
    if (column + 32 <= width) {
        sum_columns<32>(table + column, width, from, begin, end, last, out + column);
        column += 32;
    }
    if (column < width) sum_columns<16>(table + column, width, from, begin, end, last, out + column);
}

}  // namespace negsieve
