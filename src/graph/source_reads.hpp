#pragma once

#include "core/image_implementation.hpp"
#include "core/state_implementation.hpp"

#include <cstddef>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace metalloid::detail {

/// Read counts of the temporary sources of a graph, held while its kernels read them.
class SourceReads {
 public:
  /// Once for each input that an object is given for, however often the batch of one input holds it.
  void hold(const ImageBatch& batch) { hold(images_, batch); }
  void hold(const StateBatch& batch) { hold(states_, batch); }

  /// As they were: nothing has been encoded.
  void restore() {
    const auto reset = [](auto& held) {
      for (auto& [object, one] : held) {
        if (one.count > 0) object->setReadCount(one.count);  // what has no reads left has not been held
      }
    };
    reset(images_);
    reset(states_);
  }

  /// One less for each input.
  void count() {
    for (auto& [object, held] : images_) object->setReadCount(held.count - held.reads);
    for (auto& [object, held] : states_) object->setReadCount(held.count - held.reads);
  }

 private:
  struct Held {
    std::size_t count;
    std::size_t reads;
  };

  template <class Object, class Handle>
  static void hold(std::unordered_map<Object*, Held>& held, const std::vector<Handle>& batch) {
    std::unordered_set<const Object*> seen;
    for (const Handle& handle : batch) {
      Object& object = implementation(handle);
      if (object.isTemporary() && seen.insert(&object).second) hold(held, object);
    }
  }

  template <class Object>
  static void hold(std::unordered_map<Object*, Held>& held, Object& object) {
    const auto [position, isNew] = held.try_emplace(&object, Held{object.readCount(), 0});
    Held& one = position->second;
    if (++one.reads > one.count) {
      const std::size_t count = one.count;
      throw Error(ErrorCode::invalidArgument, object.name() + " has a readCount of " + std::to_string(count) +
                                                  ", but the graph reads it " + std::to_string(one.reads) + " times.");
    }
    if (isNew) object.setReadCount(all / 2);
  }

  std::unordered_map<ImageImplementation*, Held> images_;
  std::unordered_map<StateImplementation*, Held> states_;
};

}  // namespace metalloid::detail
