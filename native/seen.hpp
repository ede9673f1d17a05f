// What users have seen, as Python hands it over.
#pragma once

#include <optional>

#include <nanobind/stl/optional.h>

#include "arrays.hpp"
#include "draw.hpp"

namespace negsieve {

// Arrays of negsieve/kernels/membership.py's Rows.
struct SeenArrays {
    In<std::int64_t, 1> offset;
    In<std::int32_t, 1> item;
    std::optional<In<std::int64_t, 1>> head, word;

    SeenRows rows() const {
        want(offset.shape(0) >= 1, "offset needs an entry more than there are users");
        want(head.has_value() == word.has_value(), "a sieve's head and word belong together");
        SeenRows seen{offset.data(), item.data(), static_cast<std::int64_t>(offset.shape(0)) - 1,
                      static_cast<std::int64_t>(item.shape(0)), {}};
        if (!head) return seen;
        want(head->shape(0) + 1 == offset.shape(0), "a sieve needs a head a user");
        seen.sieve = {head->data(), word->data(), static_cast<std::int64_t>(word->shape(0))};
        return seen;
    }
};

}  // namespace negsieve
