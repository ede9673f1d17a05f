// What users have seen, as Python hands it over.
#pragma once

#include "arrays.hpp"
#include "draw.hpp"

namespace negsieve {

inline SeenRows seen_rows(const In<std::int64_t, 1>& offset, const In<std::int32_t, 1>& own) {
    want(offset.shape(0) >= 1, "offset needs an entry more than there are users");
    return {offset.data(), own.data(), static_cast<std::int64_t>(offset.shape(0)) - 1,
            static_cast<std::int64_t>(own.shape(0))};
}

}  // namespace negsieve
