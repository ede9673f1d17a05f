// Some users times a panel of items, in registers: each product is one chain of multiply-adds over the width.
#pragma once

#include <cstdint>

#include "lanes.hpp"

namespace negsieve {

constexpr int kUsers = 6;            // rows of a register block: 6 x 2 accumulators leave registers for the operands
constexpr int kVectors = 2 * kUsers;  // its accumulators
constexpr int kItems = 2 * kLanes;   // its columns, and the width of a panel of items

typedef Lanes Block[kUsers][2];

// block[u] = the scores of kUsers users, packed [width, kUsers], for a panel of items
inline void rate(const float* users, const float* panel, std::int64_t width, Block& block) {
    Block sum = {};  // of its own, so that it stays in registers
    for (std::int64_t d = 0; d < width; ++d) {
        const Lanes left = load(panel + d * kItems), right = load(panel + d * kItems + kLanes);
        for (int u = 0; u < kUsers; ++u) {
            const float side = users[d * kUsers + u];
            sum[u][0] += side * left;
            sum[u][1] += side * right;
        }
    }
    for (int u = 0; u < kUsers; ++u)
        for (int side = 0; side < 2; ++side) block[u][side] = sum[u][side];
}

}  // namespace negsieve
