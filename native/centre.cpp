// Which of a few centres each row of a table has the greatest product with. Twin: kernels/centre.py.
//
// Rows stand side by side in a panel, centres pass over it, and a product never leaves the registers.
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "panel.hpp"
#include "pool.hpp"

namespace negsieve {

// Centres as `rate` takes its users: kUsers beside each other, zero beyond the last.
static std::vector<float> packed_centres(const float* centre, std::int64_t many, std::int64_t width) {
    std::vector<float> packed(static_cast<std::size_t>((many + kUsers - 1) / kUsers * kUsers * width), 0.0f);
    for (std::int64_t c = 0; c < many; ++c)
        for (std::int64_t d = 0; d < width; ++d)
            packed[(c / kUsers * width + d) * kUsers + c % kUsers] = centre[c * width + d];
    return packed;
}

// panel[d, :] = entry d of up to kItems rows
static void fill_panel(const float* __restrict row, std::int64_t rows, std::int64_t width, float* __restrict panel) {
    for (std::int64_t column = 0; column < rows; ++column)
        for (std::int64_t d = 0; d < width; ++d) panel[d * kItems + column] = row[column * width + d];
}

// The greatest of each lane so far, and which centre's it is.
struct Best {
    Lanes value;
    Marks centre;

    // As torch's argmax has it: of equal products the first, and of those that are no number the first before all.
    void offer(const Lanes& product, std::int32_t number) {
        const Marks better = ~(product <= value) & (value == value);
        value = better ? product : value;
        centre = better ? centre - centre + number : centre;
    }
};

// near[i] = the c with the greatest <vector[i], centre[c]> + offset[c]
static void best_centre(In<float, 2> vector, In<float, 2> centre, In<float, 1> offset, Out<std::int64_t, 1> near,
                        int threads) {
    const std::int64_t rows = vector.shape(0), width = vector.shape(1), many = centre.shape(0);
    want(centre.shape(1) == vector.shape(1), "best_centre: vector and centre differ in width");
    want(offset.shape(0) == centre.shape(0), "best_centre: wanted an offset a centre");
    want(near.shape(0) == vector.shape(0), "best_centre: near needs an entry a row of vector");
    want(many >= 1 && many <= INT32_MAX, "best_centre: wanted 1 to 2^31 - 1 centres");
    const float *vectors = vector.data(), *offsets = offset.data();
    std::int64_t* found = near.data();
    nb::gil_scoped_release free;
    const std::vector<float> centres = packed_centres(centre.data(), many, width);
    parallel(threads, (rows + kItems - 1) / kItems, 16, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> panel(static_cast<std::size_t>(width * kItems), 0.0f);
        Block block;
        for (std::int64_t first = begin * kItems; first < std::min(rows, end * kItems); first += kItems) {
            const std::int64_t live = std::min<std::int64_t>(kItems, rows - first);
            fill_panel(vectors + first * width, live, width, panel.data());
            const Lanes least = Lanes{} - std::numeric_limits<float>::infinity();
            Best best[2] = {{least, Marks{}}, {least, Marks{}}};
            for (std::int64_t c = 0; c < many; c += kUsers) {
                rate(centres.data() + c * width, panel.data(), width, block);
                for (int u = 0; u < std::min<std::int64_t>(kUsers, many - c); ++u)
                    for (int side = 0; side < 2; ++side)
                        best[side].offer(block[u][side] + offsets[c + u], static_cast<std::int32_t>(c + u));
            }
            for (std::int64_t i = 0; i < live; ++i) found[first + i] = best[i / kLanes].centre[i % kLanes];
        }
    });
}

void bind_centre(nb::module_& m) {
    using namespace nb::literals;
    m.def("best_centre", &best_centre, "vector"_a, "centre"_a, "offset"_a, "near"_a, "threads"_a);
}

}  // namespace negsieve
