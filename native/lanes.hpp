// A register of floats in the vector notation that GCC and Clang share, as wide as the instruction set has it.
#pragma once

#include <cstdint>
#include <cstring>

namespace negsieve {

#if defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t Marks __attribute__((vector_size(4 * kLanes)));  // 0 or -1 a lane

inline Lanes load(const float* from) {
    Lanes value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline void store(float* to, const Lanes& value) { std::memcpy(to, &value, sizeof value); }

// One bit a lane.
inline unsigned bits(const Marks& marks) {
    Marks weight;
    for (int lane = 0; lane < kLanes; ++lane) weight[lane] = 1 << lane;
    const Marks own = marks & weight;
    std::uint64_t half[kLanes / 2], all = 0;
    std::memcpy(half, &own, sizeof half);
    for (int i = 0; i < kLanes / 2; ++i) all |= half[i];
    return static_cast<unsigned>(all | all >> 32);
}

}  // namespace negsieve
