// Threads that sleep between calls. What a piece of work writes depends on its index alone, never on who does it.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <unistd.h>

#include "barrier.hpp"

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
    // `spare`: what job(0) left undone others are at, so parts that have not begun when it ends are dropped.
    void run(int parts, const std::function<void(int)>& job, bool spare = false) {
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
            left_ = waiting_ = parts - 1;
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
        if (spare) {  // a thread that a busy machine has not woken yet would be waited for in vain
            std::lock_guard<std::mutex> lock(mutex_);
            parts_ = 0;
            left_ -= waiting_;
        }
        spin_until([&] { return left_.load(std::memory_order_acquire) == 0; });
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [&] { return left_ == 0; });
        job_ = nullptr;
        if (own) std::rethrow_exception(own);
        if (error_) std::rethrow_exception(error_);
    }

private:
    void grow(int wanted) {
        for (int number = static_cast<int>(threads_.size()) + 1; number <= wanted; ++number)
            threads_.emplace_back([this, number, seen = round_.load()] { serve(number, seen); });
    }

    void serve(int number, std::uint64_t seen) {
        for (;;) {
            const std::function<void(int)>* job;
            spin_until([&] { return round_.load(std::memory_order_acquire) != seen; });
            {
                std::unique_lock<std::mutex> lock(mutex_);
                start_.wait(lock, [&] { return round_ != seen; });
                seen = round_;
                if (number >= parts_) continue;
                --waiting_;
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
    std::atomic<std::uint64_t> round_{0};
    std::atomic<int> left_{0};  // parts of the round that are not done
    int parts_ = 0, waiting_ = 0;  // parts of the round, and those not begun
};

// piece(0) .. piece(pieces - 1), each taken by the next free one of at most `threads` threads. Who does which is up to
// the clock, so a piece alone must write what it writes. A core that another process uses then costs its share of the
// time, where even parts would all wait for the slowest.
template <class Piece>
void in_turn(int threads, std::int64_t pieces, const Piece& piece) {
    std::atomic<std::int64_t> next{0};
    const auto take = [&](int) {
        for (std::int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < pieces;
             i = next.fetch_add(1, std::memory_order_relaxed))
            piece(i);
    };
    Pool::shared().run(static_cast<int>(std::min<std::int64_t>(std::max(1, threads), pieces)), take, true);
}

// body(begin, end) over 0 .. n in at most `threads` even pieces of at least `grain`.
template <class Body>
void parallel(int threads, std::int64_t n, std::int64_t grain, const Body& body) {
    const std::int64_t most = std::max<std::int64_t>(1, n / std::max<std::int64_t>(1, grain));
    const std::int64_t pieces = std::min<std::int64_t>(std::max(1, threads), most);
    in_turn(threads, pieces, [&](std::int64_t piece) { body(n * piece / pieces, n * (piece + 1) / pieces); });
}

}  // namespace negsieve
