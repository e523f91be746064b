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

/// Where another block of the cluster has what this one has at an address.
__device__ inline std::uint32_t sameAddressIn(unsigned block, const void* pointer) {
  std::uint32_t address = 0;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(sharedAddress(pointer)), "r"(block));
  return address;
}

/// Arrives at a barrier of any block of the cluster, unless it is not the turn of this thread. For readers that are
/// done: writes are not made visible to the block, which would take longer than a product.
__device__ inline void arriveAt(std::uint32_t barrier, bool isTurn) {
  asm volatile(
      "{\n"
      ".reg .pred turn;\n"
      "setp.ne.b32 turn, %1, 0;\n"
      "@turn mbarrier.arrive.shared::cluster.b64 _, [%0];\n"
      "}" ::"r"(barrier),
      "r"(static_cast<int>(isTurn))
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

/// Copies channels of one tap of neighbouring patches: c, x, y and n of the first patch's corner, and the distance of
/// the tap from there.
__device__ inline void copyPatches(void* to, const CUtensorMap& tensor, std::uint64_t& barrier, int c, int x, int y,
                                   int n, int tapX, int tapY) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(sharedAddress(to)),
      "l"(&tensor), "r"(sharedAddress(&barrier)), "r"(c), "r"(x), "r"(y), "r"(n), "h"(static_cast<std::uint16_t>(tapX)),
      "h"(static_cast<std::uint16_t>(tapY))
      : "memory");
}

// --- products of tiles ---

/// How a tile lies in shared memory: the terms of a row side by side, or the rows of a term. Of 16-bit numbers, lines
/// hold 32 terms with the copy engine's swizzle of 64 bytes, or 64 rows with its swizzle of 128 bytes; of 32-bit
/// numbers, 32 terms or rows with that of 128 bytes.
enum class Tile { termsSideBySide, rowsSideBySide };

/// The description of a factor of 64 or 128 rows and 16 terms in shared memory: what depends on the address, and what
/// the layout is. With rows side by side, rows 64 to 127 are `kHalfBytes` further.
template <Tile kTile, unsigned kHalfBytes>
__device__ std::uint32_t describeAddress(const void* tile) {
  constexpr std::uint32_t kHalf = kTile == Tile::termsSideBySide ? 1 : kHalfBytes / 16;  // 1: of no meaning
  return kHalf << 16 | (sharedAddress(tile) & 0x3ffff) >> 4;  // above: which block of the cluster
}
template <Tile kTile>
constexpr std::uint32_t kLayoutDescription =
    kTile == Tile::termsSideBySide ? 2u << 30 | 512 / 16    // swizzle of 64 bytes, distance of 8 rows
                                   : 1u << 30 | 1024 / 16;  // swizzle of 128 bytes, of 8 terms
/// How much further in descriptions `bytes` are, and the next 16 terms.
constexpr std::uint32_t describeDistance(std::size_t bytes) { return static_cast<std::uint32_t>(bytes / 16); }
template <Tile kTile>
constexpr std::uint32_t kNextTerms = describeDistance(kTile == Tile::termsSideBySide ? 32 : 2048);

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

#define METALLOID_SUM                                                                                     \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
  "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, "  \
  "%42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"

/// d = a bᵀ, or d += a bᵀ: 64 rows of a and 128 of b, of 16 bfloat16 each, by the parts of their descriptions that
/// depend on the addresses. Of a warp group: thread t has of row t / 32 * 16 + t % 32 / 4 + 8 h, columns t % 4 * 2 + 8
/// j + c, in d[4 j + 2 h + c].
template <Tile kTileOfA, Tile kTileOfB>
__device__ void multiplyTiles(float (&d)[64], std::uint32_t a, std::uint32_t b, bool isAdded) {
  asm volatile(
      "{\n"
      ".reg .pred added;\n"
      ".reg .b64 left, right;\n"
      "setp.ne.b32 added, %66, 0;\n"
      "mov.b64 left, {%64, %69};\n"
      "mov.b64 right, {%65, %70};\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " METALLOID_SUM
      ", left, right, added, 1, 1, %67, %68;\n"
      "}"
      : METALLOID_F16(0), METALLOID_F16(16), METALLOID_F16(32), METALLOID_F16(48)
      : "r"(a), "r"(b), "r"(static_cast<int>(isAdded)), "n"(kTileOfA == Tile::rowsSideBySide ? 1 : 0),
        "n"(kTileOfB == Tile::rowsSideBySide ? 1 : 0), "n"(kLayoutDescription<kTileOfA>),
        "n"(kLayoutDescription<kTileOfB>));
}

/// The same with the rows of a in registers: a[2 k + h] has, of the row that d[2 h] has, terms t % 4 * 2 + 8 k and the
/// next one.
template <Tile kTileOfB>
__device__ void multiplyTiles(float (&d)[64], const std::uint32_t (&a)[4], std::uint32_t b, bool isAdded) {
  asm volatile(
      "{\n"
      ".reg .pred added;\n"
      ".reg .b64 right;\n"
      "setp.ne.b32 added, %69, 0;\n"
      "mov.b64 right, {%68, %71};\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " METALLOID_SUM
      ", {%64, %65, %66, %67}, right, added, 1, 1, %70;\n"
      "}"
      : METALLOID_F16(0), METALLOID_F16(16), METALLOID_F16(32), METALLOID_F16(48)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(static_cast<int>(isAdded)),
        "n"(kTileOfB == Tile::rowsSideBySide ? 1 : 0), "n"(kLayoutDescription<kTileOfB>));
}

#undef METALLOID_SUM
#undef METALLOID_F16
#undef METALLOID_F4

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
