// What flows between Python and the kernels: dense CPU arrays, torch tensors among them, without a copy.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace nb = nanobind;

namespace negsieve {

template <class T, int N>
using In = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

// Taken as it is or not at all: what is written to a converted copy would be lost.
template <class T, int N>
struct Out : nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu> {
    using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
    using Array::Array;
    Out(Array&& array) : Array(std::move(array)) {}
};

// Raises ValueError: a kernel reads and writes memory that it was told the size of, so the sizes must agree.
inline void want(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

// Raises IndexError unless every id is one of 0 .. n - 1.
inline void want_ids(const std::int64_t* id, std::int64_t many, std::int64_t n, const char* what) {
    bool outside = false;
    for (std::int64_t k = 0; k < many; ++k) outside |= static_cast<std::uint64_t>(id[k]) >= static_cast<std::uint64_t>(n);
    if (!outside) return;
    for (std::int64_t k = 0; k < many; ++k)
        if (id[k] < 0 || id[k] >= n)
            throw std::out_of_range(std::string(what) + " " + std::to_string(id[k]) + ", wanted 0.." +
                                    std::to_string(n - 1));
}

}  // namespace negsieve

namespace nanobind::detail {

template <class T, int N>
struct type_caster<negsieve::Out<T, N>> {
    using Array = typename negsieve::Out<T, N>::Array;
    using Own = negsieve::Out<T, N>;
    NB_TYPE_CASTER(Own, make_caster<Array>::Name)

    bool from_python(handle source, std::uint8_t flags, cleanup_list* cleanup) noexcept {
        make_caster<Array> caster;
        if (!caster.from_python(source, flags & ~static_cast<std::uint8_t>(cast_flags::convert), cleanup)) return false;
        value = Own(std::move(caster.value));
        return true;
    }
};

}  // namespace nanobind::detail
