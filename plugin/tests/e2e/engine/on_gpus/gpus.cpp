// GPUs that are host memory: every operation on a "cuda" tensor runs on the CPU over the same bytes.
//
// What a GPU forbids is forbidden here: tensors of different devices in one operation, more memory than there is, and,
// while a graph is captured, whatever waits for the device or copies to it. A captured operation leaves no trace until
// the graph is replayed, from and into the same memory. Values are the CPU's: nothing is said of a GPU's rounding or
// speed. For a torch built without CUDA, whose dispatcher has no kernels for it.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/histc.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::IValue;
using c10::OperatorHandle;
using c10::Storage;
using torch::jit::Stack;

constexpr int64_t MOST_DEVICES = 8;

// ---- devices and their memory -----------------------------------------------------------------------------------------

struct Memory {
  int64_t total = 0, allocated = 0, peak = 0;
};

Memory memories[MOST_DEVICES];
DeviceIndex devices = 1;
DeviceIndex current = 0;
// How often there was not enough memory.
int64_t refusals = 0;
// What the processor waited for: operation -> times.
std::map<std::string, int64_t> waited_for;

struct Block {
  Storage host;
  DeviceIndex device;
  int64_t bytes;
};

void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  memories[block->device].allocated -= block->bytes;
  delete block;
}

struct NoAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t) override {
    TORCH_CHECK(false, "simulated GPU: memory is taken by operations only");
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t count) const override { default_copy_data(to, from, count); }
};
NoAllocator no_allocator;

c10::DataPtr device_pointer(const Storage& host, DeviceIndex device) {
  auto bytes = static_cast<int64_t>(host.nbytes());
  Memory& memory = memories[device];
  if (memory.allocated + bytes > memory.total) refusals += 1;
  TORCH_CHECK_WITH(
      OutOfMemoryError,
      memory.allocated + bytes <= memory.total,
      "CUDA out of memory. Tried to allocate ", bytes, " bytes. GPU ", static_cast<int>(device), " has a total of ",
      memory.total, " bytes of which ", memory.allocated, " are taken (simulated)");
  memory.allocated += bytes;
  memory.peak = std::max(memory.peak, memory.allocated);
  auto* block = new Block{host, device, bytes};
  return {const_cast<void*>(host.data()), block, &free_block, Device(DeviceType::CUDA, device)};
}

Storage device_storage(const Storage& host, DeviceIndex device) {
  return Storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), host.nbytes(), device_pointer(host, device), &no_allocator, true));
}

at::Tensor tensor_over(const Storage& storage, c10::DispatchKey key, const at::Tensor& like) {
  auto made = c10::make_intrusive<c10::TensorImpl>(Storage(storage), c10::DispatchKeySet(key), like.dtype());
  made->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  at::Tensor found(std::move(made));
  found._set_conj(like.is_conj());
  found._set_neg(like.is_neg());
  return found;
}

// A view of a tensor's memory, with the size and strides of the host's view of it.
at::Tensor view_of(const at::Tensor& base, const at::Tensor& like) {
  auto made = c10::make_intrusive<c10::TensorImpl>(
      c10::TensorImpl::VIEW, Storage(base.storage()), base.key_set(), like.dtype());
  made->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  at::Tensor found(std::move(made));
  found._set_conj(like.is_conj());
  found._set_neg(like.is_neg());
  return found;
}

// ---- graphs ---------------------------------------------------------------------------------------------------------

struct Call {
  OperatorHandle op;
  std::vector<IValue> arguments;
  std::vector<IValue> results;
  std::vector<bool> fresh;
};

struct Graph {
  std::vector<Call> calls;
  std::set<const void*> made;
  // Memory from before the capture that a captured operation writes to, and what it held.
  std::map<const void*, std::pair<at::Tensor, at::Tensor>> held;
};

std::map<int64_t, Graph> graphs;
int64_t next_graph = 1;
Graph* capturing = nullptr;

void wait_for(const std::string& what) {
  TORCH_CHECK(capturing == nullptr, "CUDA error: operation not permitted when stream is capturing (", what, ")");
  waited_for[what] += 1;
}

at::Tensor bytes_of(const at::Tensor& host) {
  auto made = c10::make_intrusive<c10::TensorImpl>(
      Storage(host.storage()), c10::DispatchKeySet(c10::DispatchKey::CPU), caffe2::TypeMeta::Make<uint8_t>());
  made->set_sizes_contiguous({static_cast<int64_t>(host.storage().nbytes())});
  return at::Tensor(std::move(made));
}

// ---- one operation ----------------------------------------------------------------------------------------------------

struct HostGenerator final : at::CPUGeneratorImpl {
  at::Generator twin;
  explicit HostGenerator(DeviceIndex index) : CPUGeneratorImpl(0), twin(at::make_generator<at::CPUGeneratorImpl>(0)) {
    device_ = Device(DeviceType::CUDA, index);
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  }
  void set_current_seed(uint64_t seed) override { twin.set_current_seed(seed); }
  uint64_t current_seed() const override { return twin.current_seed(); }
};

class Translation {
 public:
  std::optional<DeviceIndex> device;

  IValue to_host(const IValue& value) {
    if (value.isTensor()) return tensor_to_host(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> all;
      for (const at::Tensor one : value.toTensorList()) all.push_back(tensor_to_host(one));
      return all;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> all;
      for (const std::optional<at::Tensor> one : value.toOptionalTensorList())
        all.push_back(one ? std::optional<at::Tensor>(tensor_to_host(*one)) : std::nullopt);
      return all;
    }
    if (value.isDevice() && value.toDevice().is_cuda()) {
      auto named = value.toDevice();
      if (!device) device = named.has_index() ? named.index() : current;
      TORCH_CHECK(*device < devices, "CUDA error: invalid device ordinal");
      return Device(DeviceType::CPU);
    }
    if (value.isGenerator() && value.toGenerator().defined() && value.toGenerator().device().is_cuda())
      return static_cast<HostGenerator*>(value.toGenerator().unsafeGetGeneratorImpl())->twin;
    return value;
  }

  at::Tensor to_device(const at::Tensor& host) {
    if (!host.defined()) return host;
    auto known = given_.find(host.storage().unsafeGetStorageImpl());
    if (known != given_.end()) return view_of(known->second, host);
    auto made = tensor_over(device_storage(host.storage(), *device), c10::DispatchKey::CUDA, host);
    given_.emplace(host.storage().unsafeGetStorageImpl(), made);
    kept_.push_back(host);
    if (capturing) capturing->made.insert(host.storage().data());
    return made;
  }

  bool is_given(const at::Tensor& host) const {
    return given_.count(host.storage().unsafeGetStorageImpl());
  }

  // What an operation that resizes its output did to the host's view of it.
  void follow(const at::Tensor& given, const at::Tensor& host) {
    if (!given.defined() || !given.is_cuda()) return;
    auto* storage = given.storage().unsafeGetStorageImpl();
    if (host.storage().data() != storage->data() || host.storage().nbytes() != storage->nbytes()) {
      storage->set_data_ptr_noswap(device_pointer(Storage(host.storage()), given.device().index()));
      storage->set_nbytes(host.storage().nbytes());
    }
    if (given.sizes() != host.sizes() || given.strides() != host.strides())
      given.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }

  bool mixes = false;
  bool has_host_tensor = false;

 private:
  std::unordered_map<c10::StorageImpl*, at::Tensor> given_;
  std::unordered_map<c10::StorageImpl*, at::Tensor> hosts_;
  std::vector<at::Tensor> kept_;

  at::Tensor tensor_to_host(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (!tensor.is_cuda()) {
      if (tensor.dim() > 0) has_host_tensor = true;
      return capturing && tensor.device().is_cpu() ? tensor.clone() : tensor;
    }
    auto index = tensor.device().index();
    if (device && *device != index) mixes = true;
    if (!device) device = index;
    auto* storage = tensor.storage().unsafeGetStorageImpl();
    auto known = hosts_.find(storage);
    if (known == hosts_.end()) {
      auto* keep = new Storage(tensor.storage());
      Storage host(c10::make_intrusive<c10::StorageImpl>(
          c10::StorageImpl::use_byte_size_t(),
          storage->nbytes(),
          c10::DataPtr(
              const_cast<void*>(storage->data()), keep, [](void* held) { delete static_cast<Storage*>(held); },
              Device(DeviceType::CPU)),
          c10::GetAllocator(DeviceType::CPU),
          true));
      auto made = tensor_over(host, c10::DispatchKey::CPU, tensor);
      hosts_.emplace(storage, made);
      given_.emplace(host.unsafeGetStorageImpl(), tensor);
      kept_.push_back(made);
      return made;
    }
    return tensor_over(known->second.storage(), c10::DispatchKey::CPU, tensor);
  }
};

// Operations whose tensors may lie on several devices.
const std::set<std::string> ANYWHERE = {"aten::copy_", "aten::_copy_from", "aten::index", "aten::index_put_",
                                        "aten::_index_put_impl_", "aten::set_"};
// Operations whose result has a shape or a value that the processor must be told.
const std::set<std::string> WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select",
                                       "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::equal",
                                       "aten::bincount", "aten::unique_dim_consecutive"};

bool has_mask(const IValue& value) {
  if (!value.isOptionalTensorList()) return false;
  for (const std::optional<at::Tensor> one : value.toOptionalTensorList())
    if (one && one->defined() && (one->scalar_type() == at::kBool || one->scalar_type() == at::kByte)) return true;
  return false;
}

void forbid(const std::string& name, const c10::FunctionSchema& schema, const std::vector<IValue>& given,
            const Translation& translation) {
  if (WAITING.count(name)) wait_for(name);
  if (name == "aten::repeat_interleave" && schema.overload_name() == "Tensor") wait_for(name);
  if (name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_")
    for (const auto& value : given)
      if (has_mask(value)) wait_for(name + " with a mask");
  if (ANYWHERE.count(name)) {
    if (translation.has_host_tensor) wait_for(name + " between the processor and the device");
    return;
  }
  TORCH_CHECK(
      !translation.mixes && !translation.has_host_tensor,
      "Expected all tensors to be on the same device, but ", name, " got some on others (simulated)");
}

void hold(const at::Tensor& host) {
  const void* place = host.storage().data();
  if (capturing == nullptr || capturing->made.count(place) || capturing->held.count(place)) return;
  auto bytes = bytes_of(host);
  capturing->held.emplace(place, std::make_pair(bytes, bytes.clone()));
}

void on_host(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const auto& schema = op.schema();
  const auto& name = schema.name();
  const size_t count = schema.arguments().size();
  std::vector<IValue> given(stack->end() - count, stack->end());
  stack->erase(stack->end() - count, stack->end());

  c10::impl::ExcludeDispatchKeyGuard plain(c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  Translation translation;
  std::vector<IValue> host;
  for (const auto& value : given) host.push_back(translation.to_host(value));
  if (!translation.device) translation.device = current;
  forbid(name, schema, given, translation);
  if (capturing)
    for (size_t i = 0; i < count; ++i)
      if (schema.arguments()[i].alias_info() && schema.arguments()[i].alias_info()->isWrite() && host[i].isTensor())
        hold(host[i].toTensor());

  Stack inner(host);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &inner);

  Call call{op, host, inner, {}};
  for (size_t i = 0; i < count; ++i)
    if (schema.arguments()[i].alias_info() && schema.arguments()[i].alias_info()->isWrite() && host[i].isTensor())
      translation.follow(given[i].toTensor(), host[i].toTensor());

  for (size_t i = 0; i < inner.size(); ++i) {
    const auto* alias = schema.returns()[i].alias_info();
    if (alias && alias->isWrite()) {
      call.fresh.push_back(false);
      for (size_t j = 0; j < count; ++j) {
        const auto* source = schema.arguments()[j].alias_info();
        if (source && source->isWrite() && source->beforeSets() == alias->beforeSets()) {
          stack->push_back(given[j]);
          break;
        }
      }
      continue;
    }
    const IValue& result = inner[i];
    if (result.isTensor()) {
      const auto& tensor = result.toTensor();
      call.fresh.push_back(tensor.defined() && !translation.is_given(tensor));
      stack->push_back(translation.to_device(tensor));
    } else if (result.isTensorList()) {
      c10::List<at::Tensor> all;
      bool fresh = false;
      for (const at::Tensor one : result.toTensorList()) {
        fresh = fresh || !translation.is_given(one);
        all.push_back(translation.to_device(one));
      }
      call.fresh.push_back(fresh);
      stack->push_back(all);
    } else {
      call.fresh.push_back(false);
      stack->push_back(result);
    }
  }
  if (capturing) capturing->calls.push_back(std::move(call));
}

// A GPU counts whole numbers too.
at::Tensor histc(const at::Tensor& self, int64_t bins, const at::Scalar& least, const at::Scalar& most) {
  if (at::isIntegralType(self.scalar_type(), false))
    return at::histc(self.to(at::kFloat), bins, least, most).to(self.scalar_type());
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::histc", "");
  Stack stack{self, bins, least, most};
  on_host(op, c10::DispatchKeySet(c10::DispatchKey::CUDA), &stack);
  return stack.at(0).toTensor();
}

// What a copy of a storage is made with (`copy.deepcopy` of a parameter).
at::Tensor& set_storage(
    at::Tensor& self, at::Storage source, c10::SymInt offset, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  auto* held = self.unsafeGetTensorImpl();
  held->set_storage_keep_dtype(std::move(source));
  std::vector<int64_t> sizes, strides;
  for (const auto& one : size) sizes.push_back(one.guard_int(__FILE__, __LINE__));
  for (const auto& one : stride) strides.push_back(one.guard_int(__FILE__, __LINE__));
  if (strides.size() == sizes.size())
    held->set_sizes_and_strides(sizes, strides, offset.guard_int(__FILE__, __LINE__));
  else
    held->set_sizes_contiguous(sizes);
  return self;
}

void copy_fresh(const IValue& from, const IValue& to) {
  if (from.isTensor()) {
    if (from.toTensor().defined()) to.toTensor().copy_(from.toTensor());
  } else if (from.isTensorList()) {
    for (size_t i = 0; i < from.toTensorList().size(); ++i) {
      at::Tensor target = to.toTensorList().get(i);
      target.copy_(from.toTensorList().get(i));
    }
  }
}

void begin_capture() {
  TORCH_CHECK(capturing == nullptr, "CUDA error: a capture is under way (simulated)");
  capturing = &graphs[next_graph];
}

// Ends the capture; memory that was there before is again as it was. Gives the number of the graph.
int64_t end_capture() {
  TORCH_CHECK(capturing != nullptr, "CUDA error: no capture is under way (simulated)");
  Graph* done = capturing;
  capturing = nullptr;
  c10::impl::ExcludeDispatchKeyGuard plain(c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  for (auto& pair : done->held) pair.second.first.copy_(pair.second.second);
  done->held.clear();
  return next_graph++;
}

void replay(int64_t number) {
  c10::impl::ExcludeDispatchKeyGuard plain(c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  for (auto& call : graphs.at(number).calls) {
    Stack stack(call.arguments);
    call.op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
    for (size_t i = 0; i < stack.size(); ++i)
      if (call.fresh[i]) copy_fresh(stack[i], call.results[i]);
  }
}

void forget(int64_t number) { graphs.erase(number); }

// ---- what torch asks of a kind of device -----------------------------------------------------------------------------

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr DeviceType static_type = DeviceType::CUDA;
  Guard() = default;
  explicit Guard(DeviceType) {}
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device to) const override {
    auto before = getDevice();
    setDevice(to);
    return before;
  }
  Device getDevice() const override { return Device(DeviceType::CUDA, current); }
  void setDevice(Device to) const override { uncheckedSetDevice(to); }
  void uncheckedSetDevice(Device to) const noexcept override {
    if (to.has_index()) current = to.index();
  }
  c10::Stream getStream(Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return c10::Stream(c10::Stream::DEFAULT, stream.device());
  }
  DeviceIndex deviceCount() const noexcept override { return devices; }
};

struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return devices; }
  DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(DeviceIndex to) const override { current = to; }
  DeviceIndex exchangeDevice(DeviceIndex to) const override {
    auto before = current;
    current = to;
    return before;
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex to) const override { return exchangeDevice(to); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(DeviceType::CPU); }
  at::Generator getNewGenerator(DeviceIndex index) const override {
    return at::make_generator<HostGenerator>(index < 0 ? current : index);
  }
};

void set_devices(int64_t count, int64_t bytes) {
  TORCH_CHECK(count >= 1 && count <= MOST_DEVICES, "from 1 to 8 devices");
  devices = static_cast<DeviceIndex>(count);
  current = 0;
  for (int64_t i = 0; i < count; ++i) memories[i].total = bytes;
}
int64_t memory(int64_t device, int64_t what) {
  const auto& found = memories[device];
  return what == 0 ? found.allocated : what == 1 ? found.peak : found.total;
}
void forget_peak(int64_t device) { memories[device].peak = memories[device].allocated; }
int64_t get_device() { return current; }
void set_device(int64_t device) { current = static_cast<DeviceIndex>(device); }
std::vector<std::string> take_waits() {
  std::vector<std::string> found;
  for (const auto& pair : waited_for) found.push_back(std::to_string(pair.second) + " " + pair.first);
  waited_for.clear();
  return found;
}

int64_t take_refusals() {
  auto found = refusals;
  refusals = 0;
  return found;
}

}  // namespace

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, Guard);
}

// Asked for once in a process, as torch is imported: this library must be there before.
namespace at {
using ::CUDAHooks;
REGISTER_CUDA_HOOKS(CUDAHooks);
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_host>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  // Those that torch has one kernel for all devices of, which asks for a part that each device brings, or is of many
  // operations where a GPU has one.
  m.impl("histc", &histc);
  m.impl("set_.source_Storage_storage_offset", &set_storage);
  for (const auto* name : {"copy_", "_grouped_mm", "scaled_dot_product_attention"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_host>());
}

TORCH_LIBRARY_IMPL(bitsandbytes, CUDA, m) {
  // Else its fallbacks for unknown devices would run, whose many operations are none that a GPU's kernel does.
  for (const auto* name : {"quantize_4bit", "dequantize_4bit", "dequantize_4bit.out", "quantize_blockwise",
                           "dequantize_blockwise", "dequantize_blockwise.out", "gemv_4bit", "gemv_4bit.out", "gemm_4bit"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_host>());
}

// What stands for a kernel of Triton: see packed_on_host.py, which defines it.
TORCH_LIBRARY_IMPL(jarvis_packed_products, CUDA, m) {
  m.impl("multiply", torch::CppFunction::makeFromBoxedFunction<&on_host>());
}

TORCH_LIBRARY(jarvis_simulated_gpus, m) {
  m.def("set_devices(int count, int bytes) -> ()", &set_devices);
  m.def("memory(int device, int what) -> int", &memory);
  m.def("forget_peak(int device) -> ()", &forget_peak);
  m.def("get_device() -> int", &get_device);
  m.def("set_device(int device) -> ()", &set_device);
  m.def("take_waits() -> str[]", &take_waits);
  m.def("take_refusals() -> int", &take_refusals);
  m.def("begin_capture() -> ()", &begin_capture);
  m.def("end_capture() -> int", &end_capture);
  m.def("replay(int graph) -> ()", &replay);
  m.def("forget(int graph) -> ()", &forget);
}
