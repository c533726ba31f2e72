// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "device/fenced_device.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "device/accelerator.hpp"
#include "test.hpp"

// What the stand-in for a GPU refuses, without which the other cases of this program would show nothing.

using namespace tithe::test;

namespace {

at::Tensor some(double value) { return at::full({3}, value, at::TensorOptions{}.dtype(at::kDouble)); }

}  // namespace

CATCH_TEST_CASE("a fenced device computes, and its memory cannot be touched from the host", "[device]") {
  const at::Tensor host = some(2);
  const at::Tensor x = host.to(fenced_device()).requires_grad_();
  (x * x * 3).narrow(0, 1, 2).exp().sum().backward();
  CATCH_CHECK(x.grad().device() == fenced_device());
  CATCH_CHECK(x.grad().to(at::kCPU)[0].item<double>() == 0);
  CATCH_CHECK(x.grad()[2].item<double>() == Approx(12 * std::exp(12)).epsilon(1e-15));

  const auto dies_of_reading = [](const at::Tensor& tensor) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGSEGV, SIG_DFL);
      const volatile double first = *tensor.const_data_ptr<double>();
      _exit(first == 2 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
  };
  CATCH_CHECK(dies_of_reading(x.detach()));
  CATCH_CHECK_FALSE(dies_of_reading(host));
}

CATCH_TEST_CASE("a fenced device refuses tensors and generators of another", "[device]") {
  const at::Tensor host = some(2), x = host.to(fenced_device());
  const at::Tensor index = at::ones({2}, at::kLong), number = host.sum();
  const auto refused = [](auto call) { return contains(thrown<c10::Error>(call).what(), "same device"); };
  CATCH_CHECK(refused([&] { return x + host; }));
  CATCH_CHECK(refused([&] { return x.index_select(0, index); }));
  CATCH_CHECK(refused([&] { return at::stack({x.sum(), number}); }));
  CATCH_CHECK_NOTHROW(x + number);
  CATCH_CHECK_NOTHROW(x.index({index}));
  CATCH_CHECK_NOTHROW(x.index_select(0, index.to(fenced_device())));

  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const auto draw = [&](const at::Tensor& into) { return into.clone().uniform_(0, 1, generator); };
  CATCH_CHECK(contains(thrown<c10::Error>([&] { draw(x); }).what(), "generator of the fenced device"));
  CATCH_CHECK_NOTHROW(draw(host));
}

CATCH_TEST_CASE("a fenced device counts what goes to and fro", "[device]") {
  const auto counted = [](auto call) {
    const DeviceTraffic before = *device_traffic();
    call();
    return *device_traffic() - before;
  };
  const at::Tensor x = some(1).to(fenced_device());
  CATCH_CHECK(counted([&] { (void)some(1).to(fenced_device()); }).sent == 1);
  CATCH_CHECK(counted([&] { (void)x.to(at::kCPU); }).received == 1);
  CATCH_CHECK(counted([&] { (void)x.sum().item<double>(); }).received == 1);
  const DeviceTraffic none = counted([&] { (void)(x * x).sum(); });
  CATCH_CHECK((none.sent == 0 && none.received == 0));
}
