// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "device/fenced_device.hpp"

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/accelerator.hpp"

namespace tithe::test {
namespace {

constexpr auto kind = at::kPrivateUse1;
std::atomic<std::int64_t> sent = 0, received = 0;

/// Pages of their own for every storage.
struct Pages {
  void* begin = nullptr;
  std::size_t size = 0;

  void fence(bool up) const {
    TORCH_CHECK(mprotect(begin, size, up ? PROT_NONE : PROT_READ | PROT_WRITE) == 0);
  }
};

struct FencedAllocator final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    constexpr std::size_t page = 4096;
    auto* pages = new Pages{nullptr, std::max(page, (bytes + page - 1) / page * page)};
    pages->begin = mmap(nullptr, pages->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(pages->begin != MAP_FAILED, "no memory for the fenced device");
    return {pages->begin, pages, &release, fenced_device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override { TORCH_CHECK(false, "not fenced"); }

 private:
  static void release(void* context) {
    const auto* pages = static_cast<Pages*>(context);
    munmap(pages->begin, pages->size);
    delete pages;
  }
};
FencedAllocator allocator;

/// One device, one stream, in which everything is done when a call returns.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kind; }
  c10::Device exchangeDevice(c10::Device) const override { return fenced_device(); }
  c10::Device getDevice() const override { return fenced_device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream{c10::Stream::DEFAULT, device};
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
};

bool is_fenced(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kind; }

/// Storages of the device whose fence is down while this lives, and tensors of the CPU in their place. One at a time.
class OpenFence {
 public:
  OpenFence() : lock_{mutex()} {}
  OpenFence(const OpenFence&) = delete;
  OpenFence& operator=(const OpenFence&) = delete;
  ~OpenFence() {
    for (const auto& [tensor, twin] : opened_) pages_of(tensor)->fence(true);
  }

  /// A tensor of the CPU in the same memory.
  at::Tensor twin_of(const at::Tensor& tensor) {
    for (const auto& [known, twin] : opened_) {
      if (known.is_same(tensor)) return twin;
    }
    if (tensor.storage().nbytes() == 0) {  // may grow
      at::Tensor twin = at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
      opened_.emplace_back(tensor, twin);
      return twin;
    }
    pages_of(tensor)->fence(false);
    const c10::Storage& storage = tensor.storage();
    c10::Storage same{c10::Storage::use_byte_size_t{}, storage.nbytes(),
                      c10::DataPtr{pages_of(tensor)->begin, at::kCPU}, nullptr, /*resizable=*/false};
    at::Tensor twin = at::detail::make_tensor<c10::TensorImpl>(
        std::move(same), c10::DispatchKeySet{c10::DispatchKey::CPU}, tensor.dtype());
    twin.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(),
                                                      tensor.storage_offset());
    opened_.emplace_back(tensor, twin);
    return twin;
  }
  /// Gives tensors that were empty, such as those that an operator is to write its results into, what they have become.
  void grow() {
    for (std::size_t i = 0; i < opened_.size(); ++i) {
      const auto [tensor, twin] = opened_[i];
      if (tensor.storage().nbytes() > 0 || twin.numel() == 0) continue;
      const at::Tensor grown = on_device(twin);
      tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(grown.storage());
      tensor.unsafeGetTensorImpl()->set_sizes_and_strides(grown.sizes(), grown.strides());
    }
  }
  /// What an operator gave on the CPU, on the device: what it was given itself, a view of that, or a tensor of its own.
  at::Tensor back(const at::Tensor& result) {
    if (!result.defined()) return result;
    for (const auto& [tensor, twin] : opened_) {
      if (result.is_same(twin)) return tensor;
    }
    for (const auto& [tensor, twin] : opened_) {
      if (twin.numel() == 0 || result.storage().data() != twin.storage().data()) continue;
      at::Tensor view = at::detail::make_tensor<c10::TensorImpl>(
          c10::TensorImpl::VIEW, c10::Storage{tensor.storage()}, tensor.key_set(), result.dtype());
      view.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides(),
                                                        result.storage_offset());
      return view;
    }
    return on_device(result);
  }

 private:
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex one;
    return one;
  }
  at::Tensor on_device(const at::Tensor& host) {
    const at::Tensor made =
        at::empty_strided(host.sizes(), host.strides(), host.options().device(fenced_device()));
    if (host.numel() > 0) twin_of(made).copy_(host);
    return made;
  }
  static const Pages* pages_of(const at::Tensor& tensor) {
    return static_cast<const Pages*>(tensor.storage().data_ptr().get_context());
  }

  std::lock_guard<std::recursive_mutex> lock_;
  std::vector<std::pair<at::Tensor, at::Tensor>> opened_;
};

/// Arithmetic that takes a number of the CPU beside tensors of a GPU.
bool takes_numbers(std::string_view name) {
  constexpr std::array<std::string_view, 24> operators{
      "add",     "sub",  "mul",  "div",          "rsub",  "pow",         "where", "maximum",
      "minimum", "lt",   "le",   "gt",           "ge",    "eq",          "ne",    "add_",
      "sub_",    "mul_", "div_", "masked_fill_", "fill_", "masked_fill", "lerp",  "lerp_"};
  return std::ranges::find(operators, name) != operators.end();
}
/// Operators whose index tensors CUDA fetches from the CPU itself.
bool takes_indices(std::string_view name) {
  constexpr std::array<std::string_view, 5> operators{"index", "index_put", "index_put_", "_index_put_impl_",
                                                      "_unsafe_index"};
  return std::ranges::find(operators, name) != operators.end();
}

/// Runs an operator of the device on the CPU.
void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  std::string_view name = op.schema().name();
  name.remove_prefix(name.find("::") + 2);
  const std::size_t count = op.schema().arguments().size();
  const std::size_t first = stack->size() - count;
  OpenFence fence;
  const auto twin = [&](const at::Tensor& tensor, bool is_index) -> at::Tensor {
    if (!tensor.defined()) return tensor;
    if (is_fenced(tensor)) return fence.twin_of(tensor);
    if ((tensor.dim() == 0 && takes_numbers(name)) || (is_index && takes_indices(name))) return tensor;
    throw c10::Error({__func__, __FILE__, __LINE__},
                     "Expected all tensors to be on the same device: " + std::string{name} +
                         " was given one of the CPU beside one of the fenced device");
  };
  for (std::size_t i = first; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = twin(value.toTensor(), false);
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> all = value.toTensorVector();
      for (at::Tensor& each : all) each = twin(each, false);
      value = std::move(all);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> all;
      for (const std::optional<at::Tensor>& each : value.toOptionalTensorVector()) {
        all.push_back(each ? std::optional{twin(*each, true)} : std::nullopt);
      }
      value = std::move(all);
    } else if (value.isDevice()) {
      value = at::Device{at::kCPU};
    } else if (value.isGenerator()) {
      TORCH_CHECK(value.toGenerator().device().type() == kind,
                  "Expected a generator of the fenced device for ", name);
    }
  }
  if (name == "_local_scalar_dense" || name == "equal") ++received;
  {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    op.callBoxed(stack);
  }
  fence.grow();
  for (std::size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = fence.back(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> all = value.toTensorVector();
      for (at::Tensor& each : all) each = fence.back(each);
      value = std::move(all);
    }
  }
}

at::Tensor empty_like_asked(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype,
                            std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                            std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &allocator, c10::DispatchKeySet{c10::DispatchKey::PrivateUse1},
                                   c10::dtype_or_default(dtype), format);
}
at::Tensor empty_with_strides(at::IntArrayRef sizes, at::IntArrayRef strides,
                              std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                              std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator,
                                           c10::DispatchKeySet{c10::DispatchKey::PrivateUse1},
                                           c10::dtype_or_default(dtype));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
  if (!is_fenced(from)) ++sent;
  if (!is_fenced(to)) ++received;
  OpenFence fence;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const at::Tensor target = is_fenced(to) ? fence.twin_of(to) : to;
  target.copy_(is_fenced(from) ? fence.twin_of(from) : from);
  return to;
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}
TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty_like_asked);
  library.impl("empty_strided", empty_with_strides);
  library.impl("_copy_from", copy_from);
}
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)
REGISTER_ALLOCATOR(kind, &allocator)

at::Device fenced_device() { return {kind, 0}; }
std::optional<at::Device> accelerator() { return fenced_device(); }
std::optional<DeviceTraffic> device_traffic() { return DeviceTraffic{sent, received}; }

namespace {
[[maybe_unused]] const bool registered = [] {
  c10::register_privateuse1_backend("fenced");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();
}  // namespace

}  // namespace tithe::test
