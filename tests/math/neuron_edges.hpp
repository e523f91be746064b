#pragma once

#include "math/neuron.hpp"

#include <metalloid/cnn_neuron_type.hpp>

#include <cmath>
#include <limits>

namespace metalloid::math {

/// A point where a neuron's value and derivative are known exactly: kinks, poles, infinities, NaN, special parameters.
/// They hold in double precision and in float32 alike.
struct NeuronEdge {
  CNNNeuronType type;
  NeuronParameters parameters;
  float x;
  float value;
  float derivative;
  float slope = 0;  // pReLU's
};

/// Equal, NaN equal to NaN, and 0 different from -0.
template <class Number>
bool isSame(Number actual, float expected) {
  if (std::isnan(expected)) return std::isnan(actual);
  return actual == static_cast<Number>(expected) && std::signbit(actual) == std::signbit(expected);
}

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Type, {a, b, c}, x, f(x), f'(x).
inline constexpr NeuronEdge kNeuronEdges[] = {
    {CNNNeuronType::none, {}, -0.0f, -0.0f, 1},
    {CNNNeuronType::none, {}, kNaN, kNaN, 1},

    {CNNNeuronType::reLU, {0.5f}, 0, 0, 1},
    {CNNNeuronType::reLU, {0.5f}, -0.0f, -0.0f, 1},
    {CNNNeuronType::reLU, {0.5f}, -2, -1, 0.5f},
    {CNNNeuronType::reLU, {0.5f}, kInf, kInf, 1},
    {CNNNeuronType::reLU, {0.5f}, -kInf, -kInf, 0.5f},
    {CNNNeuronType::reLU, {0.5f}, kNaN, kNaN, 0.5f},
    {CNNNeuronType::reLU, {0}, -3, 0, 0},
    {CNNNeuronType::reLU, {0}, -kInf, 0, 0},
    {CNNNeuronType::reLU, {0}, kNaN, kNaN, 0},

    {CNNNeuronType::linear, {2, 1}, 3, 7, 2},
    {CNNNeuronType::linear, {2, 1}, kNaN, kNaN, 2},

    {CNNNeuronType::sigmoid, {}, 0, 0.5f, 0.25f},
    {CNNNeuronType::sigmoid, {}, kInf, 1, 0},
    {CNNNeuronType::sigmoid, {}, -kInf, 0, 0},
    {CNNNeuronType::sigmoid, {}, kNaN, kNaN, kNaN},

    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, -1, 0, 0.5f},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, 1, 1, 0.5f},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, 0.5f, 0.75f, 0.5f},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, -1.5f, 0, 0},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, 1.5f, 1, 0},
    {CNNNeuronType::hardSigmoid, {-0.5f, 0.5f}, 1, 0, -0.5f},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, kInf, 1, 0},
    {CNNNeuronType::hardSigmoid, {0.5f, 0.5f}, kNaN, kNaN, 0},

    {CNNNeuronType::tanH, {2, 3}, 0, 0, 6},
    {CNNNeuronType::tanH, {2, 3}, -0.0f, -0.0f, 6},
    {CNNNeuronType::tanH, {2, 3}, kInf, 2, 0},
    {CNNNeuronType::tanH, {2, 3}, -kInf, -2, 0},
    {CNNNeuronType::tanH, {2, 3}, kNaN, kNaN, kNaN},

    {CNNNeuronType::absolute, {}, 0, 0, 0},
    {CNNNeuronType::absolute, {}, -3, 3, -1},
    {CNNNeuronType::absolute, {}, 3, 3, 1},
    {CNNNeuronType::absolute, {}, -kInf, kInf, -1},
    {CNNNeuronType::absolute, {}, kNaN, kNaN, kNaN},

    {CNNNeuronType::softPlus, {1, 1}, kInf, kInf, 1},
    {CNNNeuronType::softPlus, {1, 1}, -kInf, 0, 0},
    {CNNNeuronType::softPlus, {2, -3}, kInf, 0, -0.0f},
    {CNNNeuronType::softPlus, {1, 1}, 1000, 1000, 1},
    {CNNNeuronType::softPlus, {1, 2}, kNaN, kNaN, kNaN},

    {CNNNeuronType::softSign, {}, 0, 0, 1},
    {CNNNeuronType::softSign, {}, -0.0f, -0.0f, 1},
    {CNNNeuronType::softSign, {}, kInf, 1, 0},
    {CNNNeuronType::softSign, {}, -kInf, -1, 0},
    {CNNNeuronType::softSign, {}, kNaN, kNaN, kNaN},

    {CNNNeuronType::ELU, {2}, 0, 0, 1},
    {CNNNeuronType::ELU, {2}, -0.0f, -0.0f, 1},
    {CNNNeuronType::ELU, {2}, kInf, kInf, 1},
    {CNNNeuronType::ELU, {2}, -kInf, -2, 0},
    {CNNNeuronType::ELU, {2}, kNaN, kNaN, kNaN},

    {CNNNeuronType::pReLU, {}, 0, 0, 1, 0.25f},
    {CNNNeuronType::pReLU, {}, -4, -1, 0.25f, 0.25f},
    {CNNNeuronType::pReLU, {}, 4, 4, 1, 0.25f},
    {CNNNeuronType::pReLU, {}, -kInf, 0, 0, 0},
    {CNNNeuronType::pReLU, {}, -4, 8, -2, -2},
    {CNNNeuronType::pReLU, {}, kNaN, kNaN, 0.25f, 0.25f},

    {CNNNeuronType::reLUN, {1, 6}, 5, 5, 1},
    {CNNNeuronType::reLUN, {1, 6}, 6, 6, 0},
    {CNNNeuronType::reLUN, {1, 6}, 7, 6, 0},
    {CNNNeuronType::reLUN, {1, 6}, -kInf, -kInf, 1},
    {CNNNeuronType::reLUN, {1, 6}, kNaN, kNaN, 0},
    {CNNNeuronType::reLUN, {0, 6}, 0, 0, 1},
    {CNNNeuronType::reLUN, {0, 6}, -1, 0, 0},
    {CNNNeuronType::reLUN, {0, 6}, -kInf, 0, 0},
    {CNNNeuronType::reLUN, {-2, 6}, -2.5f, 5, -2},
    {CNNNeuronType::reLUN, {-2, 6}, -3, 6, 0},
    {CNNNeuronType::reLUN, {-2, 6}, -4, 6, 0},
    {CNNNeuronType::reLUN, {1, -1}, 0, -1, 0},
    {CNNNeuronType::reLUN, {1, -1}, -2, -2, 1},
    {CNNNeuronType::reLUN, {0.5f, kInf}, 1e30f, 1e30f, 1},

    {CNNNeuronType::power, {1, 0, 2}, 0, 0, 0},
    {CNNNeuronType::power, {1, 0, 2}, -kInf, kInf, -kInf},
    {CNNNeuronType::power, {1, 0, 2}, kNaN, kNaN, kNaN},
    {CNNNeuronType::power, {1, 0, 3}, -2, -8, 12},
    {CNNNeuronType::power, {3, 0, 1}, 0, 0, 3},
    {CNNNeuronType::power, {1, 0, 0.5f}, 0, 0, kInf},
    {CNNNeuronType::power, {1, 0, 0.5f}, 4, 2, 0.25f},
    {CNNNeuronType::power, {1, 0, 0.5f}, -2, kNaN, kNaN},
    {CNNNeuronType::power, {1, 0, 0.5f}, -kInf, kInf, 0},
    {CNNNeuronType::power, {-2, 0, 0.5f}, 0, 0, -kInf},
    {CNNNeuronType::power, {1, 0, 2.5f}, -2, kNaN, kNaN},
    {CNNNeuronType::power, {1, 0, -1}, 0, kInf, -kInf},
    {CNNNeuronType::power, {1, 0, -1}, 4, 0.25f, -0.0625f},
    {CNNNeuronType::power, {1, -0.0f, -1}, -0.0f, -kInf, -kInf},
    {CNNNeuronType::power, {1, 0, -2}, 0, kInf, -kInf},
    {CNNNeuronType::power, {1, -0.0f, -2}, -0.0f, kInf, kInf},
    {CNNNeuronType::power, {1, 0, -1}, kInf, 0, -0.0f},
    {CNNNeuronType::power, {1, 0, 0}, 0, 1, 0},
    {CNNNeuronType::power, {1, 0, 0}, kInf, 1, 0},
    {CNNNeuronType::power, {0, 2, 3}, 5, 8, 0},
    {CNNNeuronType::power, {0, 0, 0.5f}, 1, 0, 0},
    {CNNNeuronType::power, {1, 0, 1e30f}, 2, kInf, kInf},
    {CNNNeuronType::power, {1, 0, 1e30f}, -0.5f, 0, 0},

    {CNNNeuronType::exponential, {1, 0, -1}, 0, 1, 1},
    {CNNNeuronType::exponential, {-2, 0, -1}, 0, 1, -2},
    {CNNNeuronType::exponential, {1, 0, -1}, 1000, kInf, kInf},
    {CNNNeuronType::exponential, {1, 0, -1}, kInf, kInf, kInf},
    {CNNNeuronType::exponential, {1, 0, -1}, -kInf, 0, 0},
    {CNNNeuronType::exponential, {1, 0, 0.5f}, kInf, 0, -0.0f},
    {CNNNeuronType::exponential, {1, 3, 1}, 5, 1, 0},
    {CNNNeuronType::exponential, {1, 0, 3}, kNaN, kNaN, kNaN},

    {CNNNeuronType::logarithm, {1, 0, -1}, 1, 0, 1},
    {CNNNeuronType::logarithm, {1, 0, -1}, 0, -kInf, kInf},
    {CNNNeuronType::logarithm, {1, 0, -1}, -2, kNaN, -0.5f},
    {CNNNeuronType::logarithm, {1, 0, -1}, kInf, kInf, 0},
    {CNNNeuronType::logarithm, {1, 0, 0.5f}, 0, kInf, -kInf},
    {CNNNeuronType::logarithm, {1, 0, 10}, kNaN, kNaN, kNaN},

    {CNNNeuronType::geLU, {}, 0, 0, 0.5f},
    {CNNNeuronType::geLU, {}, -0.0f, -0.0f, 0.5f},
    {CNNNeuronType::geLU, {}, kInf, kInf, 1},
    {CNNNeuronType::geLU, {}, -kInf, -0.0f, 0},
    {CNNNeuronType::geLU, {}, kNaN, kNaN, kNaN},
};

}  // namespace metalloid::math
