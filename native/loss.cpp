// Prices rows of given scores. Twin: negsieve/kernels/losses.py.
#include "loss.hpp"

#include <optional>

#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "pool.hpp"

namespace negsieve {

static void price(int kind, float scale, float margin, bool include, In<float, 1> positive, In<float, 2> negative,
                  std::optional<In<float, 2>> weight, std::optional<In<bool, 2>> keep, Out<float, 1> value,
                  Out<float, 1> d_positive, Out<float, 2> d_negative, int threads) {
    const std::int64_t rows = negative.shape(0), many = negative.shape(1);
    const auto fits = [&](const auto& one) {
        return one.shape(0) == static_cast<std::size_t>(rows) && one.shape(1) == static_cast<std::size_t>(many);
    };
    want(kind >= 0 && kind <= static_cast<int>(LossKind::softmax), "price: no such loss");
    want(many > 0, "price: wanted a negative a row or more");
    want(positive.shape(0) == static_cast<std::size_t>(rows), "price: positive needs a row of negative each");
    want(!weight || fits(*weight), "price: weight needs the shape of negative");
    want(!keep || fits(*keep), "price: keep needs the shape of negative");
    want(fits(d_negative) && value.shape(0) == positive.shape(0) && d_positive.shape(0) == positive.shape(0),
         "price: outputs need the shapes of the scores");
    const PairLoss loss = {static_cast<LossKind>(kind), scale, margin, include};
    const Scores from = {positive.data(), negative.data(), weight ? weight->data() : nullptr,
                         keep ? keep->data() : nullptr, many};
    const Prices to = {value.data(), d_positive.data(), d_negative.data()};
    nb::gil_scoped_release free;
    const std::int64_t blocks = (rows + kPriced - 1) / kPriced;
    parallel(threads, blocks, 64, [&](std::int64_t begin, std::int64_t end) {
        price_rows(loss, from, to, begin * kPriced, std::min(rows, end * kPriced));
    });
}

void bind_loss(nb::module_& m) {
    using namespace nb::literals;
    m.def("price", &price, "kind"_a, "scale"_a, "margin"_a, "include"_a, "positive"_a, "negative"_a,
          "weight"_a.none(), "keep"_a.none(), "value"_a, "d_positive"_a, "d_negative"_a, "threads"_a);
}

}  // namespace negsieve
