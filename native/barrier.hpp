// Where the threads of one job wait for each other: a short spin, then sleep, so that a busy machine is not starved.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace negsieve {

// Whether `done` came true within some tens of microseconds: longer than parts of a step differ, shorter than a sleep.
template <class Done>
bool spin_until(const Done& done) {
    for (int spin = 0; spin < 2000; ++spin) {
        if (done()) return true;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    return false;
}

class Barrier {
public:
    explicit Barrier(int parts) : parts_(parts) {}

    void wait() {
        if (parts_ <= 1) return;
        const std::uint32_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parts_) {
            arrived_.store(0, std::memory_order_relaxed);
            std::lock_guard<std::mutex> lock(mutex_);
            round_.store(round + 1, std::memory_order_release);
            changed_.notify_all();
            return;
        }
        if (spin_until([&] { return round_.load(std::memory_order_acquire) != round; })) return;
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
    }

private:
    const int parts_;
    std::atomic<int> arrived_{0};
    std::atomic<std::uint32_t> round_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
};

}  // namespace negsieve
