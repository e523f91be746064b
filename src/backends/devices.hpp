#pragma once

#include "core/device_implementation.hpp"

#include <metalloid/detail/handle.hpp>

// Every back end has one function that makes its device; devices.cpp knows them all.
namespace metalloid::cpu {
detail::Ref<detail::DeviceImplementation> makeDevice();
}
namespace metalloid::reference {
detail::Ref<detail::DeviceImplementation> makeDevice();
}
namespace metalloid::null {
detail::Ref<detail::DeviceImplementation> makeDevice();
}
