// What flows between Python and the kernels: dense CPU arrays, torch tensors among them, without a copy.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace negsieve {

template <class T, int N>
using In = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

template <class T, int N>
using Out = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

// Raises ValueError: a kernel reads and writes memory that it was told the size of, so the sizes must agree.
inline void want(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

}  // namespace negsieve
