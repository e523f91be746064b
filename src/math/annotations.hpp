#pragma once

/// Marks functions that CUDA device code may call; nothing without a CUDA compiler.
#if defined(__CUDACC__)
#define METALLOID_HOST_DEVICE __host__ __device__
#else
#define METALLOID_HOST_DEVICE
#endif

/// The formulas of this folder are a few instructions each and stand in inner loops: a call would cost more than they
/// do, and would pass vectors through memory.
#define METALLOID_INLINE METALLOID_HOST_DEVICE inline __attribute__((always_inline))
