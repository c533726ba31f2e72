// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "interrupt.hpp"

#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace program {

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  if (::pipe(pipe_.data()) != 0) throw std::system_error{errno, std::generic_category(), "pipe"};
  thread_ = std::jthread{[this](const std::stop_token& ends) { wait(ends); }};
}

Interrupt::~Interrupt() {
  thread_.request_stop();
  pthread_kill(thread_.native_handle(), SIGTERM);  // wakes it up; nobody else sees it
  thread_.join();
  for (const int descriptor : pipe_) ::close(descriptor);
}

void Interrupt::wait(const std::stop_token& ends) {
  while (true) {
    int signal = 0;
    sigwait(&signals_, &signal);
    if (ends.stop_requested()) return;
    if (source_.stop_requested()) ::_exit(interrupted);
    source_.request_stop();
    const char byte = 0;
    while (::write(pipe_[1], &byte, 1) < 0 && errno == EINTR) continue;
  }
}

}  // namespace program
