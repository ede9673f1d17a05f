// Accuracy of ranked lists, a user at a time. Twin: negsieve/kernels/metrics.py.
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "dot.hpp"
#include "pool.hpp"

namespace negsieve {

// The order of negsieve/kernels/metrics.py.
enum class Metric : std::int64_t { recall, recall_capped, precision, hr, mrr, map, map_capped, ndcg, end };

// place[0 .. found): where a list's hits stand, ascending from 0; number > 0 items are relevant.
static double worth(Metric metric, std::int64_t k, const std::int64_t* place, std::int64_t found, std::int64_t number,
                    const double* gain, const double* ideal) {
    const std::int64_t capped = std::min(number, k);
    while (found > 0 && place[found - 1] >= k) --found;
    double sum = 0;
    switch (metric) {
        case Metric::recall: return static_cast<double>(found) / static_cast<double>(number);
        case Metric::recall_capped: return static_cast<double>(found) / static_cast<double>(capped);
        case Metric::precision: return static_cast<double>(found) / static_cast<double>(k);
        case Metric::hr: return found > 0 ? 1.0 : 0.0;
        case Metric::mrr: return found > 0 ? 1.0 / static_cast<double>(place[0] + 1) : 0.0;
        case Metric::ndcg:
            for (std::int64_t i = 0; i < found; ++i) sum += gain[place[i]];
            return sum / ideal[capped - 1];
        default:
            for (std::int64_t i = 0; i < found; ++i)
                sum += static_cast<double>(i + 1) / static_cast<double>(place[i] + 1);
            return sum / static_cast<double>(metric == Metric::map ? number : capped);
    }
}

// out[m, b] = metric[m] at cut[m] of row b's list, of which hit[b, p] says whether place p is relevant
static void rank_metrics(In<bool, 2> hit, In<std::int64_t, 1> relevant, In<std::int64_t, 1> metric,
                         In<std::int64_t, 1> cut, In<double, 1> gain, In<double, 1> ideal, Out<double, 2> out,
                         int threads) {
    const std::int64_t rows = hit.shape(0), width = hit.shape(1), many = metric.shape(0);
    const std::int64_t longest = gain.shape(0);
    want(static_cast<std::int64_t>(relevant.shape(0)) == rows && static_cast<std::int64_t>(out.shape(1)) == rows &&
             static_cast<std::int64_t>(out.shape(0)) == many && static_cast<std::int64_t>(cut.shape(0)) == many,
         "rank_metrics: relevant and out need an entry a row of hit, cut and out one a metric");
    want(static_cast<std::int64_t>(ideal.shape(0)) == longest, "rank_metrics: gain and ideal must be equally long");
    for (std::int64_t m = 0; m < many; ++m) {
        const std::int64_t name = metric.data()[m], k = cut.data()[m];
        want(0 <= name && name < static_cast<std::int64_t>(Metric::end), "rank_metrics: no such metric");
        want(1 <= k && k <= longest, "rank_metrics: a cut-off beyond the gains");
    }
    const bool* hits = hit.data();
    const std::int64_t *numbers = relevant.data(), *names = metric.data(), *cuts = cut.data();
    const double *gains = gain.data(), *ideals = ideal.data();
    double* values = out.data();
    nb::gil_scoped_release free;
    parallel(threads, rows, 1024, [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::int64_t> place(static_cast<std::size_t>(width));
        for (std::int64_t row = begin; row < end; ++row) {
            std::int64_t found = 0;
            for (std::int64_t at = 0; at < width; ++at)
                if (hits[row * width + at]) place[found++] = at;
            for (std::int64_t m = 0; m < many; ++m)
                values[m * rows + row] = numbers[row] > 0
                                             ? worth(static_cast<Metric>(names[m]), cuts[m], place.data(), found,
                                                     numbers[row], gains, ideals)
                                             : std::numeric_limits<double>::quiet_NaN();
        }
    });
}

// below[p], upto[p] = how many numbers of score[row[p], :] are below bar[p], and below or equal
static void count_below(In<float, 2> score, In<std::int64_t, 1> row, In<float, 1> bar, Out<std::int64_t, 1> below,
                        Out<std::int64_t, 1> upto, int threads) {
    const std::int64_t pairs = row.shape(0), rows = score.shape(0), width = score.shape(1);
    want(static_cast<std::int64_t>(bar.shape(0)) == pairs && static_cast<std::int64_t>(below.shape(0)) == pairs &&
             static_cast<std::int64_t>(upto.shape(0)) == pairs,
         "count_below: bar, below and upto need an entry a pair");
    want(width <= INT32_MAX, "count_below: wanted fewer than 2^31 columns");
    const float *scores = score.data(), *bars = bar.data();
    const std::int64_t* place = row.data();
    std::int64_t *less = below.data(), *most = upto.data();
    nb::gil_scoped_release free;
    want_ids(place, pairs, rows, "row");
    parallel(threads, pairs, 8, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
            const float *one = scores + place[p] * width, mine = bars[p];
            std::int32_t under = 0, equal = 0;
            for (std::int64_t at = 0; at < width; ++at) {
                under += one[at] < mine;
                equal += one[at] == mine;
            }
            less[p] = under;
            most[p] = under + equal;
        }
    });
}

void bind_metrics(nb::module_& m) {
    using namespace nb::literals;
    m.def("rank_metrics", &rank_metrics, "hit"_a, "relevant"_a, "metric"_a, "cut"_a, "gain"_a, "ideal"_a, "out"_a,
          "threads"_a);
    m.def("count_below", &count_below, "score"_a, "row"_a, "bar"_a, "below"_a, "upto"_a, "threads"_a);
}

}  // namespace negsieve
