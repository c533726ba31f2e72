// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Counts the allocations of the whole program.
#include "counted_allocations.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

/// Bytes asked for on this thread and not given back, while somebody counts; each block keeps its size in front.
struct Counter {
  bool on = false;
  std::size_t held = 0;
  std::size_t peak = 0;
};
thread_local Counter counter;
constexpr std::size_t front = alignof(std::max_align_t);

void* take(std::size_t size) {
  auto* block = static_cast<std::byte*>(std::malloc(size + front));
  if (block == nullptr) throw std::bad_alloc{};
  ::new (block) std::size_t{counter.on ? size : 0};
  if (counter.on) counter.peak = std::max(counter.peak, counter.held += size);
  return block + front;
}
void give_back(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = static_cast<std::byte*>(pointer) - front;
  if (counter.on) counter.held -= std::min(counter.held, *reinterpret_cast<std::size_t*>(block));
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
// Sanitizers bring their own of these, which would not meet the deletes below.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* pointer) noexcept { give_back(pointer); }
void operator delete[](void* pointer) noexcept { give_back(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { give_back(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { give_back(pointer); }

std::size_t tithe::test::peak_of(const std::function<void()>& function) {
  struct Off {
    ~Off() { counter.on = false; }
  };
  const Off off;
  counter = {.on = true};
  function();
  return counter.peak;
}
