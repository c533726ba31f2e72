// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <iostream>
#include <vector>

#include "device/accelerator.hpp"
#include "model/random_model.hpp"
#include "test.hpp"
#include "tithe/model/attention.hpp"

namespace tithe::test {

std::optional<at::Device> accelerator() {
  if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0) {
    std::cout << "SKIPPED: no CUDA device, or LibTorch without CUDA" << std::endl;
    ++skipped_cases;
    return std::nullopt;
  }
  // The order of sums that add to the same place is otherwise another one every time.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
  return at::Device{at::kCUDA, 0};
}

std::optional<DeviceTraffic> device_traffic() { return std::nullopt; }

}  // namespace tithe::test

CATCH_TEST_CASE("the flash kernel attends as the other paths do", "[device][cuda]") {
  using namespace tithe;
  using namespace tithe::test;
  const auto device = accelerator();
  if (!device) return;
  if (!detail::has_flash_attention(*device, at::kBFloat16, 64)) {
    std::cout << "SKIPPED: this CUDA device has no flash kernel" << std::endl;
    ++skipped_cases;
    return;
  }
  for (const std::int64_t d : {64, 6}) {  // a size that the kernel takes, and one that is padded
    for (const Rows& rows :
         {rows_that_begin_alike(9, 1), random_rows(9, 2, 90), Rows{{.prompt = {1}, .completions = {}}}}) {
      const PackedRows packed = pack(rows).to(*device);
      const auto heads = [&](std::int64_t count, std::uint64_t seed) {
        return random_tensor({packed.fed_tokens(), count, d}, seed).to(*device).to(at::kBFloat16);
      };
      const auto attended = [&](AttentionPath path, at::ScalarType dtype) {
        std::vector<at::Tensor> found;
        for (const at::Tensor& x : {heads(4, 3), heads(2, 4), heads(2, 5)}) {
          found.push_back(x.to(dtype).requires_grad_());
        }
        const at::Tensor out = AttentionPlan{packed, dtype, path, d}(0, found[0], found[1], found[2]);
        (out * out).sum().backward();
        std::vector<at::Tensor> all{out.detach().to(at::kCPU, at::kDouble)};
        for (const at::Tensor& x : found) all.push_back(x.grad().to(at::kCPU, at::kDouble));
        return all;
      };
      const auto exact = attended(AttentionPath::segmented, at::kDouble);
      const auto flash = attended(AttentionPath::flash, at::kBFloat16);
      const auto gathered = attended(AttentionPath::gathered, at::kBFloat16);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        // As far from the exact numbers as another path of the same dtype, within a factor; bfloat16 has 8 bits.
        const double scale = exact[i].abs().max().item<double>();
        CATCH_CHECK(distance(flash[i], exact[i]) <= 3 * distance(gathered[i], exact[i]) + scale * 0.01);
      }
    }
  }
}
