#pragma once

#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_convolution_descriptor.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace metalloid::detail {

/// Weights and biases on the host, as the device is to have them.
struct HostWeights {
  std::vector<float> weights;
  std::vector<float> biases;  // empty: none
};

/// A layer as a data source gives it.
struct LoadedLayer {
  CNNConvolutionDescriptor descriptor;
  HostWeights values;
};

/// Loads, reads and purges; batch normalization is folded in. @throws Error (invalidArgument), naming the kernel's
/// class and the data source's label, for a load that fails and for everything that does not fit together.
LoadedLayer load(std::string_view className, CNNConvolutionDataSource& source);

/// The kernel's class and the data source's label: `CNNConvolution "conv1"`.
std::string nameOf(std::string_view className, const CNNConvolutionDataSource& source);

}  // namespace metalloid::detail
