#pragma once

// {fmt}, which writes the library's messages. It is compiled once, in format.cpp: as a header-only library it took more
// time in every source file than the file itself. Its symbols stand in a namespace of ours, so that a program may link
// a {fmt} of its own, of any version.

#ifndef FMT_BEGIN_NAMESPACE
#define FMT_BEGIN_NAMESPACE \
  namespace fmt {           \
  inline namespace metalloid {
#define FMT_END_NAMESPACE \
  }                       \
  }
#endif

#include <fmt/format.h>  // IWYU pragma: export
