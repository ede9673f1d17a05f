// Where the threads of one job wait for each other: a short spin, then sleep, so that a busy machine is not starved.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace negsieve {

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
        for (int spin = 0; spin < kSpins; ++spin) {
            if (round_.load(std::memory_order_acquire) != round) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
    }

private:
    static constexpr int kSpins = 2000;  // some tens of microseconds, longer than parts of a step differ
    const int parts_;
    std::atomic<int> arrived_{0};
    std::atomic<std::uint32_t> round_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
};

}  // namespace negsieve
