#pragma once

#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/device.hpp>
#include <metalloid/matrix.hpp>

#include <cstdint>

namespace metalloid::training {

/// The factor by which a neuron lessens the variance of a normal input, roughly: half for those that cut one side off.
double varianceKept(CNNNeuronType type);

/// The Philox stream that tensor number `stream`, from 1, of a network draws its weights from.
inline std::uint64_t weightKey(std::uint32_t seed, std::uint64_t stream) { return (stream << 32) | seed; }

/// Records weights from a normal distribution of mean 0.
void encodeNormal(CommandBuffer& commandBuffer, const Device& device, std::uint64_t key, double variance,
                  const Matrix& weights);

}  // namespace metalloid::training
