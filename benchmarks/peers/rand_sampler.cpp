// Negatives as the samplers that ship with LightGCN papers draw them: user by user, rand() and a search in the
// user's list, again while it is found.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

// out[row] for rows sorted by user: items of user u are item[offset[u] .. offset[u + 1]).
extern "C" void draw(const std::int64_t* offset, const std::int32_t* item, std::int64_t n_users, std::int64_t n_items,
                     std::int64_t per_positive, std::int32_t* out) {
    for (std::int64_t user = 0; user < n_users; ++user) {
        const std::vector<std::int32_t> seen(item + offset[user], item + offset[user + 1]);
        for (std::size_t draws = seen.size() * static_cast<std::size_t>(per_positive); draws > 0; --draws) {
            std::int32_t drawn;
            do {
                drawn = static_cast<std::int32_t>(rand() % n_items);
            } while (std::find(seen.begin(), seen.end(), drawn) != seen.end());
            *out++ = drawn;
        }
    }
}
