#include "training/network_file.hpp"

#include "formats/json_parser.hpp"
#include "formats/safetensors.hpp"
#include "training/json_members.hpp"
#include "training/run_directory.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace metalloid::training {
namespace fs = std::filesystem;

namespace {

constexpr const char* kMetadataKey = "metalloid";
constexpr std::uint64_t kFormatVersion = 1;
constexpr std::size_t kMaximumDepth = 8;

nlohmann::json toJson(const NetworkDescription& description) {
  return {{"version", kFormatVersion},
          {"network", toJson(description.network)},
          {"pixel_scale", description.normalization.scale},
          {"pixel_offset", description.normalization.offset},
          {"image_rows", description.rows},
          {"image_columns", description.columns},
          {"class_names", description.classNames}};
}

NetworkDescription descriptionFromJson(const nlohmann::json& json, const std::string& title) {
  const JsonMembers members(json, title);
  std::uint64_t version = 0;
  members.get("version", version);
  if (version != kFormatVersion) {
    members.fail(fmt::format("is of version {}, but this program reads version {}", version, kFormatVersion));
  }
  NetworkDescription description;
  description.network = networkOptionsFromJson(members.object("network"));
  members.get("pixel_scale", description.normalization.scale);
  members.get("pixel_offset", description.normalization.offset);
  members.get("image_rows", description.rows);
  members.get("image_columns", description.columns);
  members.get("class_names", description.classNames);
  const auto& network = description.network;
  const bool imagesFit = description.rows > 0 && description.columns > 0 &&
                         description.columns <= network.inputs / description.rows &&
                         description.rows * description.columns == network.inputs;
  if (!imagesFit) {
    members.fail(fmt::format("describes images of {} x {} for a network with {} inputs", description.rows,
                             description.columns, network.inputs));
  }
  if (description.classNames.size() != network.classes) {
    members.fail(
        fmt::format("names {} classes of a network that has {}", description.classNames.size(), network.classes));
  }
  return description;
}

}  // namespace

void saveNetwork(const fs::path& path, const Network& network, const NetworkDescription& description) {
  const auto tensors = network.tensors();
  std::vector<std::vector<float>> values;
  std::vector<formats::TensorView> views;
  values.reserve(tensors.size());
  for (const auto& tensor : tensors) {
    values.push_back(tensor.matrix.read<float>());
    views.push_back(formats::floatTensor(tensor.name, tensor.shape, values.back()));
  }
  formats::saveSafetensors(path, views, {{kMetadataKey, formats::dumpJson(toJson(description))}});
}

TrainedNetwork loadNetwork(const fs::path& path) {
  const auto file = formats::SafetensorsFile::read(path);
  const std::string title = fmt::format("Safetensors file \"{}\"", path.string());
  const auto text = file.metadata().find(kMetadataKey);
  if (text == file.metadata().end()) {
    throw Error(ErrorCode::malformedFile,
                fmt::format("{} has no metadata \"{}\": it holds no network that `metalloid train` has written.", title,
                            kMetadataKey));
  }
  const std::string metadataTitle = fmt::format("The metadata of \"{}\"", path.string());
  TrainedNetwork trained;
  trained.description =
      descriptionFromJson(formats::parseJson(text->second, metadataTitle, kMaximumDepth), metadataTitle);
  for (const auto& tensor : file.tensors()) {
    trained.tensors.push_back({.name = tensor.name, .shape = tensor.shape, .values = formats::floatValues(tensor)});
  }
  return trained;
}

void assignTensors(const Network& network, const TrainedNetwork& trained) {
  const auto shapeText = [](const std::vector<std::size_t>& shape) {
    std::string text;
    for (const std::size_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
    return text;
  };
  const auto tensors = network.tensors();
  for (const auto& tensor : tensors) {
    const auto found = std::ranges::find(trained.tensors, tensor.name, &NamedTensor::name);
    if (found == trained.tensors.end()) {
      throw Error(ErrorCode::malformedFile, fmt::format("The weights have no tensor \"{}\".", tensor.name));
    }
    if (found->shape != tensor.shape) {
      throw Error(ErrorCode::malformedFile, fmt::format("Tensor \"{}\" of the weights is {}, but the network's is {}.",
                                                        tensor.name, shapeText(found->shape), shapeText(tensor.shape)));
    }
    tensor.matrix.write(found->values);
  }
  if (trained.tensors.size() != tensors.size()) {
    throw Error(ErrorCode::malformedFile, fmt::format("The weights have {} tensors, but the network has {}.",
                                                      trained.tensors.size(), tensors.size()));
  }
}

fs::path weightsAt(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? RunDirectory::weights(path) : path;
}

}  // namespace metalloid::training
