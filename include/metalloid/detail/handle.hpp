#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace metalloid::detail {

/// Base of everything behind a handle: one intrusive count, so that a handle is a single pointer.
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;

 private:
  mutable std::atomic<std::uint64_t> count_{0};
};

/// A counted pointer: copying retains, destruction releases.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* pointer) noexcept : pointer_(pointer) {
    if (pointer_) pointer_->retain();
  }
  Ref(const Ref& other) noexcept : Ref(other.pointer_) {}
  Ref(Ref&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
  template <std::derived_from<T> U>
  requires(!std::same_as<U, T>) Ref(const Ref<U>& other)
  noexcept : Ref(static_cast<T*>(other.get())) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(pointer_, other.pointer_);
    return *this;
  }
  ~Ref() {
    if (pointer_) pointer_->release();
  }

  T* get() const noexcept { return pointer_; }
  T* operator->() const noexcept { return pointer_; }
  T& operator*() const noexcept { return *pointer_; }
  explicit operator bool() const noexcept { return pointer_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) noexcept { return a.pointer_ == b.pointer_; }

 private:
  T* pointer_ = nullptr;
};

template <class T, class... Arguments>
Ref<T> makeRef(Arguments&&... arguments) {
  return Ref<T>(new T(std::forward<Arguments>(arguments)...));
}

/// Base of every public handle. Copying shares, destruction releases, a default-constructed handle is nil.
class Handle {
 public:
  Handle() = default;

  /// Whether this is not nil.
  explicit operator bool() const noexcept { return static_cast<bool>(implementation_); }

  /// Identity: the same object, not equal contents.
  friend bool operator==(const Handle& a, const Handle& b) noexcept { return a.implementation_ == b.implementation_; }

  /// For the library's own use.
  const Ref<RefCounted>& implementation() const noexcept { return implementation_; }

 protected:
  explicit Handle(Ref<RefCounted> implementation) noexcept : implementation_(std::move(implementation)) {}

 private:
  Ref<RefCounted> implementation_;
};

}  // namespace metalloid::detail

/// Handles hash by identity, as they compare.
template <std::derived_from<metalloid::detail::Handle> H>
struct std::hash<H> {
  std::size_t operator()(const H& handle) const noexcept {
    return std::hash<const void*>()(handle.implementation().get());
  }
};
