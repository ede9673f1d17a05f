// The keyed shuffle of 0 .. n - 1, for any places of it, and what stands there. Twin: negsieve/kernels/shuffle.py.
#include <algorithm>
#include <cstdint>
#include <string>

#include "arrays.hpp"
#include "pool.hpp"

namespace negsieve {

constexpr int kRounds = 6;
constexpr std::int64_t kLanes = 256;  // places that are shuffled at once

// A Feistel network over pairs of `half` bits. Only the low 31 bits of a round matter, so 32-bit lanes do.
struct Feistel {
    std::uint32_t constant[kRounds];
    int half;

    void permute(std::uint32_t* left, std::uint32_t* right, std::int64_t many) const {
        const std::uint32_t mask = (1u << half) - 1, low = 0x7FFFFFFFu;
        for (const std::uint32_t addend : constant)
            for (std::int64_t i = 0; i < many; ++i) {
                std::uint32_t mixed = (right[i] * 0x2545F491u + addend) & low;
                mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6Du) & low;
                mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39u) & low;
                const std::uint32_t turned = left[i] ^ ((mixed ^ (mixed >> 15)) & mask);
                left[i] = right[i];
                right[i] = turned;
            }
    }
};

// out[i] = where place[i] lands: the network is walked until it lands below n.
static void shuffle_some(const Feistel& network, const std::int64_t* place, std::int64_t* out, std::int64_t many,
                         std::int64_t n) {
    std::uint32_t left[kLanes], right[kLanes], lane[kLanes];
    const std::uint32_t mask = (1u << network.half) - 1;
    for (std::int64_t i = 0; i < many; ++i) {
        if (place[i] < 0 || place[i] >= n)
            throw std::out_of_range("place " + std::to_string(place[i]) + " of a shuffle of " + std::to_string(n));
        left[i] = static_cast<std::uint32_t>(place[i] >> network.half);
        right[i] = static_cast<std::uint32_t>(place[i]) & mask;
        lane[i] = static_cast<std::uint32_t>(i);
    }
    while (many > 0) {
        network.permute(left, right, many);
        std::int64_t outside = 0;
        for (std::int64_t i = 0; i < many; ++i) {
            const std::int64_t value = (static_cast<std::int64_t>(left[i]) << network.half) | right[i];
            out[lane[i]] = value;  // written again if it must go on
            const std::uint32_t own = lane[i], l = left[i], r = right[i];
            left[outside] = l;
            right[outside] = r;
            lane[outside] = own;
            outside += value >= n;
        }
        many = outside;
    }
}

// out[i] = the place of place[i] in the shuffle of 0 .. n - 1 that the six constants make
static void shuffle(In<std::int64_t, 1> place, std::int64_t n, In<std::int64_t, 1> constant, Out<std::int64_t, 1> out,
                    int threads) {
    want(out.shape(0) == place.shape(0), "shuffle: out needs as many places");
    want(constant.shape(0) == kRounds, "shuffle: wanted six constants");
    want(n >= 0 && n <= std::int64_t{1} << 62, "shuffle: n must be 0 to 2^62");
    Feistel network{};
    std::copy(constant.data(), constant.data() + kRounds, network.constant);
    int bits = 0;
    while (std::int64_t{1} << bits < std::max<std::int64_t>(n, 2)) ++bits;
    network.half = std::max(1, (bits + 1) / 2);
    const std::int64_t *places = place.data(), many = place.shape(0);
    std::int64_t* target = out.data();
    nb::gil_scoped_release free;
    parallel(threads, many, 8192, [&](std::int64_t begin, std::int64_t end) {
        for (; begin < end; begin += kLanes)
            shuffle_some(network, places + begin, target + begin, std::min(kLanes, end - begin), n);
    });
}

// out = the entries of two columns at some places, asked for before they are read: shuffled places are anywhere
static void picked(In<std::int64_t, 1> place, In<std::int64_t, 1> one, In<std::int64_t, 1> other,
                   Out<std::int64_t, 1> out_one, Out<std::int64_t, 1> out_other, int threads) {
    constexpr std::int64_t kAhead = 128;
    want(one.shape(0) == other.shape(0), "picked: the columns differ in length");
    want(out_one.shape(0) == place.shape(0) && out_other.shape(0) == place.shape(0),
         "picked: what is picked needs an entry a place");
    const std::int64_t *places = place.data(), many = place.shape(0);
    const std::int64_t *from[2] = {one.data(), other.data()}, n = one.shape(0);
    std::int64_t* to[2] = {out_one.data(), out_other.data()};
    nb::gil_scoped_release free;
    want_ids(places, many, n, "place");
    parallel(threads, many, 8192, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t soon = places[std::min(i + kAhead, many - 1)];
            for (int column = 0; column < 2; ++column) {
                __builtin_prefetch(from[column] + soon, 0, 2);
                to[column][i] = from[column][places[i]];
            }
        }
    });
}

void bind_shuffle(nb::module_& m) {
    using namespace nb::literals;
    m.def("picked", &picked, "place"_a, "one"_a, "other"_a, "out_one"_a, "out_other"_a, "threads"_a);
    m.def("shuffle", &shuffle, "place"_a, "n"_a, "constant"_a, "out"_a, "threads"_a);
}

}  // namespace negsieve
