#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <zlib.h>

namespace metalloid::testing {

/// One gzip member that holds `content`.
inline std::string gzip(std::string_view content, int level = 6) {
  z_stream state{};
  if (::deflateInit2(&state, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflate");
  std::string out(::deflateBound(&state, static_cast<uLong>(content.size())), '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  state.avail_in = static_cast<uInt>(content.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  if (::deflate(&state, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("deflate");
  out.resize(state.total_out);
  ::deflateEnd(&state);
  return out;
}

}  // namespace metalloid::testing
