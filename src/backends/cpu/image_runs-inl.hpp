// Runs of images as float32, whatever the images store: the kernels see only these.

#if defined(METALLOID_CPU_IMAGE_RUNS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef METALLOID_CPU_IMAGE_RUNS_INL
#undef METALLOID_CPU_IMAGE_RUNS_INL
#else
#define METALLOID_CPU_IMAGE_RUNS_INL
#endif

#include "backends/cpu/image_runs.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/rows-inl.hpp"
#include "operations/image_views.hpp"

#include <cstddef>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace metalloid::cpu {
namespace HWY_NAMESPACE {

/// One operand's part of a run: in place for float32, else converted.
class RunBuffer {
 public:
  /// Takes its place, if it needs one, from `space`.
  RunBuffer(const operations::ImageView& view, std::size_t length, float*& space) : type_(view.type) {
    if (!view || type_ == DataType::float32) return;
    buffer_ = space;
    space += length;
  }
  const float* read(std::byte* from, std::size_t count) const {
    if (!from || !buffer_) return reinterpret_cast<const float*>(from);
    toFloats(from, type_, count, buffer_);
    return buffer_;
  }
  float* place(std::byte* to) const { return buffer_ && to ? buffer_ : reinterpret_cast<float*>(to); }
  void finish(std::byte* to, std::size_t count) const {
    if (buffer_ && to) fromFloats(buffer_, count, type_, to);
  }

 private:
  DataType type_;
  float* buffer_ = nullptr;
};

/// Calls f(run, space for floats) for every run of every image, in tasks for the threads.
template <class F>
void forEachRun(const ImageRuns& runs, std::size_t floatsPerTask, Context& context, const F& f) {
  const BlockSplit tasks = runs.tasks();
  float* const space = context.scratch.take<float>(tasks.count() * floatsPerTask);
  context.pool.parallelFor(tasks.count(), [&](std::size_t task) {
    for (std::size_t i = tasks[task].begin; i < tasks[task].end; ++i) f(runs[i], space + task * floatsPerTask);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace metalloid::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard
