#pragma once

#include <cstdint>

namespace metalloid {

/// What stands outside an image. Source: MPSImageEdgeMode.
enum class ImageEdgeMode : std::uint32_t {
  zero = 0,            ///< 0 in every channel.
  clamp = 1,           ///< The nearest pixel of the edge.
  mirror = 2,          ///< Reflected about the centre of the edge pixel, which is not repeated; padding kernels only.
  mirrorWithEdge = 3,  ///< Reflected about the border, so that the edge pixel is repeated; padding kernels only.
  constant = 4,        ///< A value of the filter's; padding kernels only.
};

}  // namespace metalloid
