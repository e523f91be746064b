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

/// The whole destination. Source: MPSRectNoClip.
inline constexpr Region regionNoClip{{0, 0, 0}, {all, all, all}};

/// A signed position: pixels, and in z an image of a container. Source: MPSOffset.
struct Offset {
  std::ptrdiff_t x = 0;  ///< Columns to the right.
  std::ptrdiff_t y = 0;  ///< Rows down.
  std::ptrdiff_t z = 0;  ///< Images.
  friend bool operator==(const Offset&, const Offset&) = default;
};

/// `length` items from `location` on. Source: NSRange.
struct Range {
  std::size_t location = 0;  ///< The first one.
  std::size_t length = 0;    ///< How many.
  friend bool operator==(const Range&, const Range&) = default;
};

}  // namespace metalloid
