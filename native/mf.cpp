// Steps of matrix factorisation, one or many in a call. Twins: negsieve/kernels/mf.py and rows.py.
#include <optional>
#include <tuple>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include "arrays.hpp"
#include "online.hpp"

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
          parts(static_cast<int>(std::clamp<std::int64_t>(largest / 64, 1, std::max(1, threads)))) {
        want(users.rows.shape(1) == items.rows.shape(1), "users and items differ in width");
        want(user.n == static_cast<std::int64_t>(descent.space.slot[kUser].size()) &&
                 item.n == static_cast<std::int64_t>(descent.space.slot[kItem].size()),
             "this optimiser was made for other tables");
        want(std::get<0>(code) >= 0 && std::get<0>(code) <= static_cast<int>(LossKind::softmax), "no such loss");
    }

    template <class Of>
    std::int64_t run(std::int64_t steps, std::int64_t largest, std::int64_t many, const Of& of) const {
        std::int64_t done = 0;
        with_width(width, [&](auto d) {
            Block<decltype(d)::value> block(descent, user, item, loss, lr, l2, width, parts);
            done = block.run(steps, largest, many, of);
        });
        return done;
    }

    std::int64_t online(const Rows& rows) const {
        std::int64_t done = 0;
        with_width(width, [&](auto d) {
            done = Online<decltype(d)::value>(descent, user, item, loss, lr, l2, width, rows.many).run(rows);
        });
        return done;
    }
};

// Steps, the s-th on rows bound[s] .. bound[s + 1], or without bound on row s alone; returns how many were done, fewer
// than there are where the total of the next is not finite. With candidates the hardest of them become the negatives, else those are given.
static std::int64_t mf_steps(Descent& descent, double lr, const Arrays& users, const Arrays& items,
                             In<std::int64_t, 1> user, In<std::int64_t, 1> item, std::optional<In<std::int64_t, 1>> bound,
                             std::optional<In<std::int64_t, 2>> candidate, std::optional<In<float, 2>> weight,
                             std::optional<In<bool, 2>> keep, const LossCode& code, float l2, const Reports& reports,
                             int threads) {
    const std::int64_t n = user.shape(0), steps = bound ? static_cast<std::int64_t>(bound->shape(0)) - 1 : n;
    const std::int64_t many = reports.negative.shape(1), candidates = candidate ? candidate->shape(1) : 0;
    reports.check();
    const auto fits = [&](const auto& one) {
        return one.shape(0) == reports.negative.shape(0) && one.shape(1) == reports.negative.shape(1);
    };
    want(item.shape(0) == user.shape(0) && reports.negative.shape(0) == user.shape(0) &&
             (!candidate || candidate->shape(0) == user.shape(0)),
         "steps: user, item, negative and candidate need the same rows");
    want((!weight || fits(*weight)) && (!keep || fits(*keep)), "steps: weight and keep need the shape of negative");
    want(!candidate || (many <= candidates && candidates <= kMostCandidates),
         "steps: wanted 4096 candidates at most, and no fewer than are chosen");
    const std::int64_t* at = bound ? bound->data() : nullptr;
    want(bound || descent.kind == RuleKind::sgd, "steps of one row each are done by sgd alone");
    want(!bound || (steps >= 0 && at[0] == 0 && at[steps] == n), "steps: bound must run from 0 to the last row");
    std::int64_t largest = 1;
    for (std::int64_t s = 0; bound && s < steps; ++s) {
        want(at[s] <= at[s + 1], "steps: bound must never fall");
        largest = std::max(largest, at[s + 1] - at[s]);
    }
    const Setting setting(descent, lr, users, items, code, l2, largest, threads);
    Rows all = {};
    all.count = n;
    all.many = many;
    all.candidates = candidates;
    all.user = user.data();
    all.item = item.data();
    all.candidate = candidate ? candidate->data() : nullptr;
    all.negative = reports.negative.data();
    all.weight = weight ? weight->data() : nullptr;
    all.keep = keep ? keep->data() : nullptr;
    all.positive = reports.positive.data();
    all.rated = reports.rated.data();
    all.value = reports.value.data();
    all.penalty = reports.penalty.data();
    all.slope = reports.slope.data();
    nb::gil_scoped_release free;
    Held held(descent);
    want_ids(all.user, n, setting.user.n, "user");
    want_ids(all.item, n, setting.item.n, "item");
    if (all.candidate != nullptr)
        want_ids(all.candidate, n * candidates, setting.item.n, "candidate");
    else
        want_ids(all.negative, n * many, setting.item.n, "negative");
    if (at == nullptr) return setting.online(all);
    return setting.run(steps, largest, many, [&](std::int64_t s) { return all.from(at[s], at[s + 1] - at[s]); });
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
    m.def("mf_steps", &mf_steps, "descent"_a, "lr"_a, "users"_a, "items"_a, "user"_a, "item"_a, "bound"_a.none(),
          "candidate"_a.none(), "weight"_a.none(), "keep"_a.none(), "loss"_a, "l2"_a, "reports"_a, "threads"_a);
}

}  // namespace negsieve
