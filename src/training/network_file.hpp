#pragma once

#include "training/batch_loader.hpp"
#include "training/checkpoint_files.hpp"
#include "training/network_options.hpp"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace metalloid::training {

/// What a weights file says besides the tensors: all that is needed to use them on images.
struct NetworkDescription {
  NetworkOptions network;
  PixelNormalization normalization;
  std::size_t rows = 0;  ///< Of an image.
  std::size_t columns = 0;
  std::vector<std::string> classNames;
};

/// A trained network in memory.
struct TrainedNetwork {
  NetworkDescription description;
  std::vector<NamedTensor> tensors;
};

/// Writes a trained network, running statistics included, as float32 safetensors, entirely or not at all. The
/// description stands in the metadata as JSON under "metalloid".
void saveNetwork(const std::filesystem::path& path, const TrainedNetwork& trained);

/// Reads such a file. @throws Error (malformedFile) naming the file and what is wrong in it.
TrainedNetwork loadNetwork(const std::filesystem::path& path);

/// `path` itself, or the weights of the run where `path` is a run's directory.
std::filesystem::path weightsAt(const std::filesystem::path& path);

}  // namespace metalloid::training
