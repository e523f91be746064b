#pragma once

/// Before a loop: four turns in one, for register tiles whose own counting would take the place of arithmetic.
#if defined(__clang__)
#define METALLOID_CPU_UNROLL_4 _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define METALLOID_CPU_UNROLL_4 _Pragma("GCC unroll 4")
#else
#define METALLOID_CPU_UNROLL_4
#endif
