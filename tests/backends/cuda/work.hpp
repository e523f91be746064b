#pragma once

#include <metalloid/command_queue.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_neuron.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::testing {

inline Matrix filled(const Device& device, std::size_t rows, std::size_t columns, float factor) {
  const Matrix matrix(device, {.rows = rows, .columns = columns});
  std::vector<float> values(rows * columns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = factor * (static_cast<float>(i % 37) - 18);
  matrix.write(values);
  return matrix;
}

/// The result of a neuron for a small matrix: what a device that works gives.
inline std::vector<float> someWork(const Device& device) {
  constexpr std::size_t kRows = 40, kColumns = 24;
  const Matrix x = filled(device, kRows, kColumns, 0.125f), y(device, {.rows = kRows, .columns = kColumns});
  MatrixNeuron neuron(device);
  neuron.setNeuronType(CNNNeuronType::geLU);
  CommandBuffer commands = device.makeCommandQueue().makeCommandBuffer();
  neuron.encode(commands, {.inputMatrix = x, .resultMatrix = y});
  commands.commit();
  commands.waitUntilCompleted();
  return y.read<float>();
}

/// Everything that the error says that f throws.
template <class F>
std::string textOf(ErrorCode code, F f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "Nothing was thrown.";
  return {};
}

inline void expectSays(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
}

}  // namespace metalloid::testing
