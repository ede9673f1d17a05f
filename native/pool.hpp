// Threads that sleep between calls. Work is cut by index, never by who is free, so results do not depend on it.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <unistd.h>

namespace negsieve {

class Pool {
public:
    static Pool& shared() {
        // A forked child has none of its parent's threads: it starts a pool of its own and leaves the old one alone.
        static Pool* pool = new Pool();
        static pid_t owner = getpid();
        if (owner != getpid()) {
            pool = new Pool();
            owner = getpid();
        }
        return *pool;
    }

    // Runs job(0) .. job(parts - 1), job(0) here; returns when all are done and throws what a job threw.
    void run(int parts, const std::function<void(int)>& job) {
        if (parts <= 1) {
            job(0);
            return;
        }
        std::lock_guard<std::mutex> one_at_a_time(callers_);
        grow(parts - 1);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            parts_ = parts;
            left_ = parts - 1;
            error_ = nullptr;
            ++round_;
        }
        start_.notify_all();
        std::exception_ptr own;
        try {
            job(0);
        } catch (...) {
            own = std::current_exception();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [&] { return left_ == 0; });
        job_ = nullptr;
        if (own) std::rethrow_exception(own);
        if (error_) std::rethrow_exception(error_);
    }

private:
    void grow(int wanted) {
        for (int number = static_cast<int>(threads_.size()) + 1; number <= wanted; ++number)
            threads_.emplace_back([this, number, seen = round_] { serve(number, seen); });
    }

    void serve(int number, std::uint64_t seen) {
        for (;;) {
            const std::function<void(int)>* job;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                start_.wait(lock, [&] { return round_ != seen; });
                seen = round_;
                if (number >= parts_) continue;
                job = job_;
            }
            std::exception_ptr failed;
            try {
                (*job)(number);
            } catch (...) {
                failed = std::current_exception();
            }
            std::lock_guard<std::mutex> lock(mutex_);
            if (failed && !error_) error_ = failed;
            if (--left_ == 0) done_.notify_one();
        }
    }

    std::mutex callers_, mutex_;
    std::condition_variable start_, done_;
    std::vector<std::thread> threads_;
    const std::function<void(int)>* job_ = nullptr;
    std::exception_ptr error_;
    std::uint64_t round_ = 0;
    int parts_ = 0, left_ = 0;
};

// body(begin, end) over 0 .. n in at most `threads` even pieces of at least `grain`.
template <class Body>
void parallel(int threads, std::int64_t n, std::int64_t grain, const Body& body) {
    const std::int64_t most = std::max<std::int64_t>(1, n / std::max<std::int64_t>(1, grain));
    const int parts = static_cast<int>(std::min<std::int64_t>(std::max(1, threads), most));
    Pool::shared().run(parts, [&](int part) { body(n * part / parts, n * (part + 1) / parts); });
}

}  // namespace negsieve
