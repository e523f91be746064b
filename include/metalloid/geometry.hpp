#pragma once

#include <cstddef>
#include <limits>

namespace metalloid {

/// "Everything available": the default of every size limit and count (NSUIntegerMax).
inline constexpr std::size_t all = std::numeric_limits<std::size_t>::max();

/// A position. In matrix kernels x is the first row and y the first column, counted in elements, and z must be 0; for a
/// vector operand x is the first element. Source: MTLOrigin.
struct Origin {
  std::size_t x = 0;  ///< First row of a matrix, first element of a vector.
  std::size_t y = 0;  ///< First column of a matrix; 0 for a vector.
  std::size_t z = 0;  ///< Always 0.
  friend bool operator==(const Origin&, const Origin&) = default;
};

/// An extent in pixels or elements. Source: MTLSize.
struct Size {
  std::size_t width = 0;   ///< Along x.
  std::size_t height = 0;  ///< Along y.
  std::size_t depth = 0;   ///< Along z.
  friend bool operator==(const Size&, const Size&) = default;
};

/// A box: origin and extent. Source: MTLRegion.
struct Region {
  Origin origin;  ///< Its first corner.
  Size size;      ///< Its extent.
  friend bool operator==(const Region&, const Region&) = default;
};

}  // namespace metalloid
