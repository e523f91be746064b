// Uses the installed package the way a stranger would: the public headers alone, an exception across the library's
// border.
#include <metalloid/error.hpp>

#include <cstdio>
#include <cstring>

int main() {
  try {
    throw metalloid::Error(metalloid::ErrorCode::unsupported, "Nothing is wrong.").during("testing the package");
  } catch (const metalloid::Error& error) {
    std::puts(error.what());
    return std::strstr(error.what(), "testing the package") == nullptr ? 1 : 0;
  }
}
