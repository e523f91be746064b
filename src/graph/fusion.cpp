#include "graph/fusion.hpp"

#include "core/format.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace metalloid::detail {
namespace {

/// Custom padding may do anything to a node's kernel, unless it says that it does not mind.
bool allowsFusion(const Filter& filter) {
  const auto method = filter.padding->paddingMethod();
  return !contains(method, NNPaddingMethod::custom) || contains(method, NNPaddingMethod::customAllowForNodeFusion);
}

class Fusion {
 public:
  explicit Fusion(Plan& plan) : plan_(plan), isGone_(plan.steps.size()) {}

  void run() {
    for (std::size_t step = 0; step < plan_.steps.size(); ++step) {
      if (isGone_[step]) continue;
      const Filter& filter = filterOf(step);
      if (const auto neuron = filter.neuron()) {
        fuseNeuron(step, *neuron);
      } else if (filter.isConcatenation()) {
        writeInPlace(step);
      } else if (filter.isCopyOfGradient()) {
        leaveOutCopy(step);
      }
    }
    compact();
  }

 private:
  const Filter& filterOf(std::size_t step) const { return *plan_.steps[step].node->filter; }

  bool mustExist(const PlannedImage& image) const {
    return image.isInput || image.isResult || image.properties.isExported;
  }

  void fuseNeuron(std::size_t step, const NNNeuronDescriptor& neuron) {
    PlannedStep& activation = plan_.steps[step];
    PlannedImage& between = plan_.images[activation.sources.front()];
    if (between.isInput || isGone_[between.producer]) return;
    PlannedStep& producer = plan_.steps[between.producer];
    const Filter& before = filterOf(between.producer);
    if (!before.canTakeNeuron() || producer.fusedNeuron) return;
    const auto inhibited = [&](std::string_view why) {
      plan_.notes.push_back(fmt::format("{} is not computed by {}: {}", activation.name, producer.name, why));
    };
    if (!allowsFusion(filterOf(step))) return inhibited("its padding policy is custom");
    if (between.isResult) return inhibited("the image between them is a result");
    if (between.properties.isExported) return inhibited("the image between them is exported");
    if (activation.state && plan_.states[*activation.state].properties.isExported)
      return inhibited("its state is exported");
    // The neuron's own gradient may read the image too, if it becomes part of the gradient of the filter before.
    std::optional<std::size_t> gradient;
    for (const std::size_t reader : between.readers) {
      if (reader == step) continue;
      if (gradient || !canFuseGradient(reader, step, between.producer))
        return inhibited("the image between them has another reader");
      gradient = reader;
    }
    if (!gradient && activation.state && !plan_.states[*activation.state].readers.empty())
      return inhibited("its gradient needs what it reads");
    if (isLeftOutByGradient(producer, gradient)) return inhibited("a gradient begins before it");

    producer.fusedNeuron = neuron;
    producer.fused.push_back(activation.name);
    // The image between goes; what the neuron would have made is made instead.
    producer.result = activation.result;
    plan_.images[activation.result].producer = between.producer;
    isGone_[step] = true;
    if (gradient) fuseGradient(*gradient, neuron);
    plan_.notes.push_back(fmt::format("{} computes {}", producer.name, activation.name));
  }

  /// Whether `reader` is the gradient of the neuron, and only the gradient of `producer`'s filter reads its result.
  bool canFuseGradient(std::size_t reader, std::size_t neuron, std::size_t producer) const {
    const Filter& filter = filterOf(reader);
    if (!filter.neuronGradient() || !allowsFusion(filter)) return false;
    if (filter.neuronGradient() != filterOf(neuron).neuron()) return false;
    const PlannedStep& gradient = plan_.steps[reader];
    if (gradient.sourceStates.size() != 1 || !plan_.steps[neuron].state ||
        gradient.sourceStates.front() != *plan_.steps[neuron].state) {
      return false;
    }
    const PlannedImage& result = plan_.images[gradient.result];
    if (mustExist(result) || result.readers.empty()) return false;
    // The two reads of the image between are the neuron's and this one's; this one's result goes to one filter.
    const std::size_t next = result.readers.front();
    if (std::ranges::any_of(result.readers, [&](std::size_t other) { return other != next; })) return false;
    const Filter& nextFilter = filterOf(next);
    return nextFilter.canTakeNeuronGradient() && plan_.steps[next].sources.front() == gradient.result &&
           plan_.steps[producer].state && !plan_.steps[next].sourceStates.empty() &&
           plan_.steps[next].sourceStates.front() == *plan_.steps[producer].state;
  }

  /// Whether a gradient that could compute that of the neuron, and then must, begins before it: all but the one that
  /// reads the result of `gradient`, the neuron's.
  bool isLeftOutByGradient(const PlannedStep& producer, std::optional<std::size_t> gradient) const {
    if (!producer.state) return false;
    return std::ranges::any_of(plan_.states[*producer.state].readers, [&](std::size_t reader) {
      const bool follows = gradient && plan_.images[plan_.steps[*gradient].result].readers.front() == reader;
      return filterOf(reader).canTakeNeuronGradient() && !follows;
    });
  }

  void fuseGradient(std::size_t step, const NNNeuronDescriptor& neuron) {
    PlannedStep& gradient = plan_.steps[step];
    PlannedStep& next = plan_.steps[plan_.images[gradient.result].readers.front()];
    next.sources.front() = gradient.sources.front();
    next.fusedNeuron = neuron;
    next.fused.push_back(gradient.name);
    isGone_[step] = true;
    plan_.notes.push_back(fmt::format("{} computes {}", next.name, gradient.name));
  }

  void writeInPlace(std::size_t step) {
    PlannedStep& concatenation = plan_.steps[step];
    const std::string inhibited = whatForbidsWritingInPlace(plan_, concatenation);
    if (inhibited.empty()) metalloid::detail::writeInPlace(plan_, concatenation);
    plan_.notes.push_back(
        inhibited.empty()
            ? fmt::format("{} is written in place, where the channels of its sources allow it", concatenation.name)
            : fmt::format("{} copies its sources: {}", concatenation.name, inhibited));
  }

  /// The gradient of an addition is the gradient that it was given.
  void leaveOutCopy(std::size_t step) {
    PlannedStep& copy = plan_.steps[step];
    PlannedImage& result = plan_.images[copy.result];
    const PlannedImage& source = plan_.images[copy.sources.front()];
    if (mustExist(result) || result.readers.empty() || result.properties.format != source.properties.format) return;
    for (PlannedStep& other : plan_.steps)
      std::replace(other.sources.begin(), other.sources.end(), copy.result, copy.sources.front());
    isGone_[step] = true;
    plan_.notes.push_back(fmt::format("{} is left out: its result is its source", copy.name));
  }

  /// Drops what is gone and numbers steps, images and states anew.
  void compact() {
    std::vector<PlannedStep> steps;
    for (std::size_t step = 0; step < plan_.steps.size(); ++step) {
      if (!isGone_[step]) steps.push_back(std::move(plan_.steps[step]));
    }
    plan_.steps = std::move(steps);
    plan_.link();
  }

  Plan& plan_;
  std::vector<char> isGone_;
};

}  // namespace

std::string whatForbidsWritingInPlace(const Plan& plan, const PlannedStep& concatenation) {
  for (const std::size_t index : concatenation.sources) {
    const PlannedImage& source = plan.images[index];
    const auto because = [&](std::string_view why) { return fmt::format("{} {}", source.name, why); };
    if (source.isInput) return because("comes from outside");
    if (source.isResult) return because("is a result");
    if (source.properties.isExported) return because("is exported");
    if (source.concatenation) return because("is written into another concatenation");
    if (source.properties.allocator != TemporaryImage::defaultAllocator())
      return because("has an allocator of its own");
    if (std::ranges::count(concatenation.sources, index) > 1) return because("is there twice");
    if (plan.steps[source.producer].isInPlace) return because("is a concatenation written in place");
    if (source.properties.format != plan.images[concatenation.result].properties.format)
      return because("has another format");
  }
  return {};
}

void writeInPlace(Plan& plan, PlannedStep& concatenation) {
  for (std::size_t i = 0; i < concatenation.sources.size(); ++i) {
    PlannedImage& source = plan.images[concatenation.sources[i]];
    source.concatenation = concatenation.result;
    source.concatenationSource = i;
  }
  concatenation.isInPlace = true;
}

void fuse(Plan& plan) { Fusion(plan).run(); }

}  // namespace metalloid::detail
