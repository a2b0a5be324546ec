// PyTorch's CPU build knows no device guard for CUDA, without which nothing may be asked for there.
#include <c10/core/impl/FakeGuardImpl.h>

static c10::impl::DeviceGuardImplRegistrar registered(
    c10::DeviceType::CUDA, new c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>());
