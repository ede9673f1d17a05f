// Steps of matrix factorisation, one or many in a call. Twins: negsieve/kernels/mf.py and rows.py.
#include <optional>
#include <tuple>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include "arrays.hpp"
#include "block.hpp"

namespace negsieve {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using LossCode = std::tuple<int, float, float, bool>;

// One call at a time works with a Descent.
class Held {
public:
    explicit Held(Descent& descent) : descent_(descent) {
        want(!descent.busy.exchange(true), "two calls at once with one optimiser: give each run its own");
    }
    ~Held() { descent_.busy = false; }

private:
    Descent& descent_;
};

// Arrays of one table, as Python hands them over.
struct Arrays {
    Out<float, 2> rows;
    std::optional<Floats> mean, square;
    std::optional<Out<std::int32_t, 1>> clock;

    Table table(RuleKind kind) const {
        const std::size_t n = rows.shape(0), width = rows.shape(1), all = n * width;
        const bool adam = kind == RuleKind::adam || kind == RuleKind::sparse_adam;
        want(width > 0 && n < INT32_MAX, "a table needs a width above 0 and fewer than 2^31 - 1 rows");
        want(!adam || (mean && mean->size() == all), "Adam needs a mean of the table's shape");
        want(kind == RuleKind::sgd || (square && square->size() == (kind == RuleKind::rowwise_adagrad ? n : all)),
             "this rule needs sums of squares: of the table's shape, rowwise_adagrad's one a row");
        want(kind != RuleKind::adam || (clock && clock->shape(0) == n), "adam needs a clock a row");
        return {rows.data(), mean ? mean->data() : nullptr, square ? square->data() : nullptr,
                clock ? clock->data() : nullptr, static_cast<std::int64_t>(n)};
    }
};

static void catch_up(Descent& descent, const Arrays& arrays, std::optional<In<std::int64_t, 1>> ids, int threads) {
    if (!descent.lazy()) return;
    const Table table = arrays.table(descent.kind);
    const std::int64_t width = arrays.rows.shape(1), many = ids ? ids->shape(0) : table.n;
    const std::int64_t* id = ids ? ids->data() : nullptr;
    nb::gil_scoped_release free;
    Held held(descent);
    if (id != nullptr) want_ids(id, many, table.n, "row");
    descent.coast.look_back();
    const int parts = static_cast<int>(std::clamp<std::int64_t>(many / 512, 1, std::max(1, threads)));
    with_width(width, [&](auto d) {
        Step<decltype(d)::value> step(descent.space, &descent.coast, table, table, {}, 0.0f, width, parts);
        Pool::shared().run(parts, [&](int part) { step.wake_all(id, many, part); });
    });
}

// What steps write about each row.
struct Reports {
    Out<std::int64_t, 2> negative;
    Out<float, 1> positive;
    Out<float, 2> rated;
    Out<float, 1> value, penalty, slope;

    // The rows from `first` on, whose pairs are given apart.
    Rows rows(std::int64_t first, std::int64_t count) const {
        const auto many = static_cast<std::int64_t>(negative.shape(1));
        Rows rows = {};
        rows.count = count;
        rows.many = many;
        rows.negative = negative.data() + first * many;
        rows.positive = positive.data() + first;
        rows.rated = rated.data() + first * many;
        rows.value = value.data() + first;
        rows.penalty = penalty.data() + first;
        rows.slope = slope.data() + first;
        return rows;
    }

    void check() const {
        const std::size_t n = negative.shape(0);
        want(negative.shape(1) > 0, "steps need a negative a row or more");
        want(positive.shape(0) == n && value.shape(0) == n && penalty.shape(0) == n && slope.shape(0) == n &&
                 rated.shape(0) == n && rated.shape(1) == negative.shape(1),
             "what steps write needs the shapes of the rows and their negatives");
    }
};

// What every step of a call shares.
struct Setting {
    Descent& descent;
    double lr;
    Table user, item;
    PairLoss loss;
    float l2;
    std::int64_t width;
    int parts;

    Setting(Descent& descent, double lr, const Arrays& users, const Arrays& items, const LossCode& code, float l2,
            std::int64_t largest, int threads)
        : descent(descent), lr(lr), user(users.table(descent.kind)), item(items.table(descent.kind)),
          loss{static_cast<LossKind>(std::get<0>(code)), std::get<1>(code), std::get<2>(code), std::get<3>(code)},
          l2(l2), width(static_cast<std::int64_t>(users.rows.shape(1))),
          parts(static_cast<int>(std::clamp<std::int64_t>(largest / 128, 1, std::max(1, threads)))) {
        want(users.rows.shape(1) == items.rows.shape(1), "users and items differ in width");
        want(user.n == static_cast<std::int64_t>(descent.space.slot[kUser].size()) &&
                 item.n == static_cast<std::int64_t>(descent.space.slot[kItem].size()),
             "this optimiser was made for other tables");
        want(std::get<0>(code) >= 0 && std::get<0>(code) <= static_cast<int>(LossKind::softmax), "no such loss");
    }

    template <class Of>
    std::int64_t run(std::int64_t steps, std::int64_t largest, std::int64_t many, const Of& of, const Draws* draws) const {
        std::int64_t done = 0;
        with_width(width, [&](auto d) {
            Block<decltype(d)::value> block(descent, user, item, loss, lr, l2, width, parts);
            done = block.run(steps, largest, many, of, draws);
        });
        return done;
    }
};

// One step on given negatives; false if it was refused, because its total is not finite.
static bool mf_step(Descent& descent, double lr, const Arrays& users, const Arrays& items, In<std::int64_t, 1> user,
                    In<std::int64_t, 1> item, std::optional<In<float, 2>> weight, std::optional<Out<bool, 2>> keep,
                    const LossCode& code, float l2, const Reports& reports, int threads) {
    const std::int64_t count = user.shape(0), many = reports.negative.shape(1);
    reports.check();
    const auto fits = [&](const auto& one) {
        return one.shape(0) == reports.negative.shape(0) && one.shape(1) == reports.negative.shape(1);
    };
    want(item.shape(0) == user.shape(0) && reports.negative.shape(0) == user.shape(0),
         "mf_step: user, item and negative need the same rows");
    want((!weight || fits(*weight)) && (!keep || fits(*keep)), "mf_step: weight and keep need the shape of negative");
    const Setting setting(descent, lr, users, items, code, l2, count, threads);
    Rows rows = reports.rows(0, count);
    rows.user = user.data();
    rows.item = item.data();
    rows.weight = weight ? weight->data() : nullptr;
    rows.keep = keep ? keep->data() : nullptr;
    nb::gil_scoped_release free;
    Held held(descent);
    want_ids(rows.user, count, setting.user.n, "user");
    want_ids(rows.item, count, setting.item.n, "item");
    want_ids(rows.negative, count * many, setting.item.n, "negative");
    return setting.run(1, count, many, [&](std::int64_t) { return rows; }, nullptr) == 1;
}

// Steps on drawn negatives: step s has the pairs of row[bound[s] .. bound[s + 1]). Returns how many were done.
static std::int64_t mf_steps(Descent& descent, double lr, const Arrays& users, const Arrays& items,
                             In<std::int64_t, 1> user, In<std::int64_t, 1> item, In<std::int64_t, 1> row,
                             In<std::int64_t, 1> bound, In<std::int64_t, 1> key, In<std::int64_t, 1> offset,
                             In<std::int32_t, 1> seen, std::int64_t candidates, bool sum, const LossCode& code, float l2,
                             const Reports& reports, int threads) {
    const std::int64_t n = row.shape(0), steps = key.shape(0), many = reports.negative.shape(1), pairs = user.shape(0);
    reports.check();
    want(item.shape(0) == user.shape(0), "mf_steps: user and item need the same pairs");
    want(reports.negative.shape(0) == row.shape(0), "mf_steps: negative needs the rows of the block");
    want(bound.shape(0) == key.shape(0) + 1 && bound.data()[0] == 0 && bound.data()[steps] == n,
         "mf_steps: bound must run from 0 to the number of rows, one more than there are keys");
    std::int64_t largest = 0;
    for (std::int64_t s = 0; s < steps; ++s) {
        want(bound.data()[s] <= bound.data()[s + 1], "mf_steps: bound must never fall");
        largest = std::max(largest, bound.data()[s + 1] - bound.data()[s]);
    }
    want(candidates == 0 || (candidates >= many && candidates <= kMostCandidates),
         "mf_steps: candidates must be 0, or no fewer than are chosen and 4096 at most");
    const Setting setting(descent, lr, users, items, code, l2, largest, threads);
    want(offset.shape(0) == static_cast<std::size_t>(setting.user.n) + 1 && offset.data()[0] == 0 &&
             offset.data()[setting.user.n] == static_cast<std::int64_t>(seen.shape(0)),
         "mf_steps: offset must run from 0 to the number of seen items, one more than there are users");
    const std::int64_t *taken = row.data(), *owner = user.data(), *positive = item.data(), *at = bound.data();
    const Draws draws = {offset.data(), seen.data(), reinterpret_cast<const std::uint64_t*>(key.data()), candidates};
    nb::gil_scoped_release free;
    Held held(descent);
    Workspace& space = descent.space;
    want_ids(taken, n, pairs, "row");
    std::int64_t *own_user = space.user.need(n), *own_item = space.item.need(n);
    bool sound = true, full = false;
    for (std::int64_t k = 0; k < n; ++k) {
        own_user[k] = owner[taken[k]];
        own_item[k] = positive[taken[k]];
    }
    want_ids(own_user, n, setting.user.n, "user");
    want_ids(own_item, n, setting.item.n, "item");
    for (std::int64_t k = 0; k < n; ++k) {
        const std::int64_t first = draws.offset[own_user[k]], last = draws.offset[own_user[k] + 1];
        sound &= 0 <= first && first <= last && last <= draws.offset[setting.user.n];
        full |= last - first >= setting.item.n;
    }
    want(sound, "mf_steps: offset must never fall");
    bool* keep = full ? space.keep.need(largest * many) : nullptr;
    float* weight = sum ? space.weight.need(largest * many) : nullptr;
    if (sum) std::fill_n(weight, largest * many, 1.0f);
    const auto of = [&](std::int64_t s) {
        Rows rows = reports.rows(at[s], at[s + 1] - at[s]);
        rows.user = own_user + at[s];
        rows.item = own_item + at[s];
        rows.sample = taken + at[s];
        rows.weight = weight;
        rows.keep = keep;
        return rows;
    };
    return setting.run(steps, largest, many, of, &draws);
}

void bind_mf(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Descent>(m, "Descent")
        .def("__init__",
             [](Descent* self, int kind, double beta1, double beta2, double eps, std::int64_t users, std::int64_t items) {
                 want(kind >= 0 && kind <= static_cast<int>(RuleKind::adam), "Descent: no such rule");
                 want(0 <= users && users < INT32_MAX && 0 <= items && items < INT32_MAX,
                      "Descent: wanted fewer than 2^31 - 1 users and items");
                 want(eps > 0 && 0 < beta1 && beta1 < 1 && 0 < beta2 && beta2 < 1 && beta1 * beta1 < beta2,
                      "Descent: wanted eps above 0, betas between 0 and 1, and the square of the first below the second");
                 new (self) Descent(kind, beta1, beta2, eps, users, items);
             })
        .def_ro("step", &Descent::step)
        .def("push", &Descent::push, "lr"_a);
    nb::class_<Arrays>(m, "Arrays")
        .def("__init__",
             [](Arrays* self, Out<float, 2> rows, std::optional<Floats> mean, std::optional<Floats> square,
                std::optional<Out<std::int32_t, 1>> clock) { new (self) Arrays{rows, mean, square, clock}; },
             "rows"_a, "mean"_a.none(), "square"_a.none(), "clock"_a.none());
    nb::class_<Reports>(m, "Reports")
        .def("__init__",
             [](Reports* self, Out<std::int64_t, 2> negative, Out<float, 1> positive, Out<float, 2> rated,
                Out<float, 1> value, Out<float, 1> penalty, Out<float, 1> slope) {
                 new (self) Reports{negative, positive, rated, value, penalty, slope};
             });
    m.def("catch_up", &catch_up, "descent"_a, "table"_a, "ids"_a.none(), "threads"_a);
    m.def("mf_step", &mf_step, "descent"_a, "lr"_a, "users"_a, "items"_a, "user"_a, "item"_a, "weight"_a.none(),
          "keep"_a.none(), "loss"_a, "l2"_a, "reports"_a, "threads"_a);
    m.def("mf_steps", &mf_steps, "descent"_a, "lr"_a, "users"_a, "items"_a, "user"_a, "item"_a, "row"_a, "bound"_a,
          "key"_a, "offset"_a, "seen"_a, "candidates"_a, "sum"_a, "loss"_a, "l2"_a, "reports"_a, "threads"_a);
}

}  // namespace negsieve
