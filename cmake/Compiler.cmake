# Compiler settings of this directory and those below it; a project that embeds the sources keeps its own.

get_property(isMultiConfig GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT isMultiConfig)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(CCACHE ccache)
  if(CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
  endif()
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion)
# Results must not depend on where a compiler chooses to contract a multiplication and an addition into one rounding.
add_compile_options(-ffp-contract=off)
# SVE and RVV vectors have no fixed size and cannot be kept in classes and arrays, as our kernels do. SSSE3, SSE4 and the
# newer AVX-512 would only repeat what the next lower set gives, at the price of build time: SSE2, AVX2 and AVX-512 stay.
set(disabledTargets "HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128|HWY_RVV|HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL")
add_compile_definitions("HWY_DISABLED_TARGETS=(${disabledTargets})")
if(METALLOID_WERROR)
  add_compile_options(-Werror)
endif()

if(METALLOID_SANITIZE)
  # Sanitized SIMD sources compile for minutes; one instruction set has every kind of loop and tail.
  add_compile_definitions(HWY_COMPILE_ONLY_STATIC)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    add_compile_options(-march=x86-64-v3 -maes -mpclmul)  # all that Highway counts to AVX2
  endif()
  add_compile_options(-fsanitize=${METALLOID_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${METALLOID_SANITIZE})
endif()
