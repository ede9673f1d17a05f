// Triples for BPR as the code of LightGCN makes them for an epoch: a user at a time, a random positive, negatives until
// one is not found among the user's items, and every argument converted from Python's lists by pybind11.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace py = pybind11;

// int[users * each, 2 + many]: user, positive, negatives
static py::array_t<int> triples(std::vector<std::vector<int>> items, int n_items, int each, int many) {
    const auto users = static_cast<py::ssize_t>(items.size());
    py::array_t<int> made({users * each, static_cast<py::ssize_t>(2 + many)});
    int* out = made.mutable_data();
    for (py::ssize_t user = 0; user < users; ++user) {
        const std::vector<int> own = items[static_cast<std::size_t>(user)];
        for (int n = 0; n < each; ++n) {
            *out++ = static_cast<int>(user);
            *out++ = own[static_cast<std::size_t>(std::rand()) % own.size()];
            for (int k = 0; k < many; ++k) {
                int item = std::rand() % n_items;
                while (std::find(own.begin(), own.end(), item) != own.end()) item = std::rand() % n_items;
                *out++ = item;
            }
        }
    }
    return made;
}

PYBIND11_MODULE(triple_sampler, m) { m.def("triples", &triples); }
