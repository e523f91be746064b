#pragma once

#include <cuda.h>

#include <cstdint>

/// Instructions of compute capability 9.0 that C++ has no words for: barriers in shared memory, the tensor copy engine,
/// and products of tiles in shared memory (PTX ISA: mbarrier, cp.async.bulk.tensor, wgmma).
namespace metalloid::cuda::hopper {

// --- barriers in shared memory: a phase ends when all have arrived and all bytes that were announced are there ---

__device__ inline std::uint32_t sharedAddress(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ inline void makeBarrier(std::uint64_t& barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(&barrier)), "r"(arrivals) : "memory");
}

/// Makes new barriers visible to the other blocks of the cluster and to the copy engine.
__device__ inline void publishBarriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Arrives, and announces bytes that the copy engine will bring.
__device__ inline void arriveExpecting(std::uint64_t& barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(&barrier)), "r"(bytes)
               : "memory");
}

/// Arrives at the same barrier of a block of the cluster. For readers that are done: writes are not made visible to it,
/// which would take longer than a product.
__device__ inline void arriveAt(std::uint64_t& barrier, unsigned block) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(sharedAddress(&barrier)),
      "r"(block)
      : "memory");
}

/// Waits for the end of the phase of this parity: 0, 1, 0 ...
__device__ inline void waitFor(std::uint64_t& barrier, unsigned parity) {
  std::uint32_t isOver = 0;
  do {
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n"
        "}"
        : "=r"(isOver)
        : "r"(sharedAddress(&barrier)), "r"(parity)
        : "memory");
  } while (isOver == 0);
}

__device__ inline unsigned rankInCluster() {
  unsigned rank = 0;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// Stores into the same place in the shared memory of a block of the cluster. That block's barrier, which must be known
/// to be ready, hears of the bytes; nobody else knows when they are there.
__device__ inline void sendTo(unsigned block, double2& place, std::uint64_t& barrier, double2 value) {
  asm volatile(
      "{\n"
      ".reg .b32 to, barrier;\n"
      "mapa.shared::cluster.u32 to, %0, %2;\n"
      "mapa.shared::cluster.u32 barrier, %1, %2;\n"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f64 [to], {%3, %4}, [barrier];\n"
      "}" ::"r"(sharedAddress(&place)),
      "r"(sharedAddress(&barrier)), "r"(block), "d"(value.x), "d"(value.y)
      : "memory");
}

/// All threads of all blocks of the cluster arrive, and wait for each other. Arriving alone makes nothing visible but
/// what was published.
__device__ inline void arriveAtCluster() { asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory"); }
__device__ inline void waitForCluster() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
__device__ inline void synchronizeCluster() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// --- the tensor copy engine ---

/// Copies a box of a tensor into shared memory. `barrier` hears of the bytes.
__device__ inline void copyBox(void* to, const CUtensorMap& tensor, std::uint64_t& barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          sharedAddress(to)),
      "l"(&tensor), "r"(sharedAddress(&barrier)), "r"(x), "r"(y)
      : "memory");
}
__device__ inline void copyBox(void* to, const CUtensorMap& tensor, std::uint64_t& barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(sharedAddress(to)),
      "l"(&tensor), "r"(sharedAddress(&barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}

/// The same into the shared memory of every block of the cluster whose bit is set; each block's barrier hears of it.
__device__ inline void copyBoxToAll(void* to, const CUtensorMap& tensor, std::uint64_t& barrier, int x, int y, int z,
                                    std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(sharedAddress(to)),
      "l"(&tensor), "r"(sharedAddress(&barrier)), "r"(x), "r"(y), "r"(z), "h"(blocks)
      : "memory");
}

// --- products of tiles ---

/// Describes rows of 32 16-bit numbers in shared memory as the copy engine lays them with its 64-byte swizzle. Eight
/// rows are 512 bytes, and so is the alignment. The next 16 columns are `kNextColumns` further.
__device__ inline std::uint64_t describeTile(const void* tile) {
  constexpr std::uint64_t kSwizzle64 = std::uint64_t{2} << 62, kEightRows = std::uint64_t{512 / 16} << 32;
  constexpr std::uint64_t kUnused = std::uint64_t{1} << 16;
  return kSwizzle64 | kEightRows | kUnused | ((sharedAddress(tile) & 0x3ffff) >> 4);
}
constexpr std::uint64_t kNextColumns = 32 / 16;

/// A group of products begins, which may use registers that were written before.
__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ inline void endProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until no more than `kPending` groups are under way.
template <int kPending>
__device__ void waitForProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from moving reads of a result before the wait for it.
template <int kSize>
__device__ void keepInOrder(float (&d)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define METALLOID_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define METALLOID_F16(i) METALLOID_F4(i), METALLOID_F4(i + 4), METALLOID_F4(i + 8), METALLOID_F4(i + 12)

/// d = a bᵀ, or d += a bᵀ: 64 rows of a and 128 of b, of 16 bfloat16 each. Of a warp group: thread t has of row
/// t / 32 * 16 + t % 32 / 4 + 8 h, columns t % 4 * 2 + 8 j + c, in d[4 j + 2 h + c].
__device__ inline void multiplyTiles(float (&d)[64], std::uint64_t a, std::uint64_t b, bool isAdded) {
  asm volatile(
      "{\n"
      ".reg .pred added;\n"
      "setp.ne.b32 added, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
      "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, "
      "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
      "%62, %63}, %64, %65, added, 1, 1, 0, 0;\n"
      "}"
      : METALLOID_F16(0), METALLOID_F16(16), METALLOID_F16(32), METALLOID_F16(48)
      : "l"(a), "l"(b), "r"(static_cast<int>(isAdded)));
}

#undef METALLOID_F16
#undef METALLOID_F4

// --- turns: two warp groups that do something one after the other, again and again ---

/// Waits until the other warp group has passed the turn on.
__device__ inline void waitForTurn(unsigned barrier) { asm volatile("bar.sync %0, 256;" ::"r"(barrier) : "memory"); }

/// Passes the turn on to the warp group that waits there.
__device__ inline void passTurn(unsigned barrier) { asm volatile("bar.arrive %0, 256;" ::"r"(barrier) : "memory"); }

// --- registers: warp groups of one block may have unequal numbers ---

template <int kRegisters>
__device__ void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace metalloid::cuda::hopper
