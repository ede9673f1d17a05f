// Counter-based randomness: word (key, sample, draw) is a function, so no thread, order or batch can change it.
//
// The finaliser is that of splitmix64 (Steele, Lea, Flood 2014). negsieve/kernels/counter.py is the same in torch.
#pragma once

#include <cstdint>

namespace negsieve {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ull;

inline std::uint64_t mix64(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// The streams of a key.
class Streams {
public:
    explicit Streams(std::uint64_t key) : base_(mix64(key)) {}

    // The start of a sample's own stream; its words follow by `word`.
    std::uint64_t start(std::int64_t sample) const {
        return mix64(base_ + kGolden * (static_cast<std::uint64_t>(sample) + 1));
    }

private:
    std::uint64_t base_;
};

inline std::uint64_t word(std::uint64_t start, std::uint64_t draw) { return mix64(start + kGolden * (draw + 1)); }

// One of 0 .. n - 1, n up to 2^53; a value's probability is off by at most n * 2^-53 of itself.
inline std::int64_t below(std::uint64_t bits, std::int64_t n) {
    return static_cast<std::int64_t>(static_cast<double>(bits >> 11) * 0x1p-53 * static_cast<double>(n));
}

}  // namespace negsieve
