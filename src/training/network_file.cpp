#include "training/network_file.hpp"

#include "core/format.hpp"
#include "formats/json_parser.hpp"
#include "formats/safetensors.hpp"
#include "training/json_members.hpp"
#include "training/run_directory.hpp"

#include <metalloid/error.hpp>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

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

void saveNetwork(const fs::path& path, const TrainedNetwork& trained) {
  std::vector<formats::TensorView> views;
  for (const auto& tensor : trained.tensors) {
    views.push_back(formats::floatTensor(tensor.name, tensor.shape, tensor.values));
  }
  formats::saveSafetensors(path, views, {{kMetadataKey, formats::dumpJson(toJson(trained.description))}});
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

fs::path weightsAt(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? RunDirectory::weights(path) : path;
}

}  // namespace metalloid::training
