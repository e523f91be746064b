#include "command.hpp"
#include "core/format.hpp"
#include "formats/idx.hpp"
#include "formats/image_dataset.hpp"
#include "training/network_file.hpp"
#include "training/predictor.hpp"
#include "training/sample_order.hpp"
#include "training_arguments.hpp"

#include <metalloid/error.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

using namespace metalloid;
using namespace metalloid::training;

namespace {

struct PredictCommand {
  std::string weights;
  std::string images;
  std::vector<std::uint32_t> indices;
  std::size_t top = 3;
  DeviceArguments device;
  bool json = false;

  int run() const {
    const Device chosen = device.computingDevice();
    const TrainedNetwork trained = loadNetwork(weightsAt(weights));
    const formats::LabelledImages samples = readImages(trained.description);
    std::vector<std::uint32_t> order = indices;
    if (order.empty()) order = naturalOrder(samples.count());
    for (const std::uint32_t index : order) {
      if (index >= samples.count()) {
        throw UsageError(fmt::format("There is no image {}: the file holds {}.", index, samples.count()));
      }
    }
    Predictor predictor(chosen, trained, top);
    const auto predictions = predictor.predict(samples, order);
    for (std::size_t i = 0; i < order.size(); ++i) print(order[i], predictions[i], trained.description.classNames);
    return 0;
  }

  formats::LabelledImages readImages(const NetworkDescription& description) const {
    auto array = formats::readIdx(images, formats::kIdxImages);
    if (array.shape[1] != description.rows || array.shape[2] != description.columns) {
      throw Error(ErrorCode::invalidArgument,
                  fmt::format("The images in \"{}\" are {} x {}, but the network is made for {} x {}.", images,
                              array.shape[1], array.shape[2], description.rows, description.columns));
    }
    return {.pixels = std::move(array.bytes), .labels = std::vector<std::uint8_t>(array.shape[0])};
  }

  void print(std::uint32_t index, const std::vector<ClassProbability>& prediction,
             const std::vector<std::string>& names) const {
    if (!json) {
      std::string text;
      for (const auto& [number, probability] : prediction) {
        text += fmt::format("{}{} {:.2f} %", text.empty() ? "" : ", ", names[number], 100 * probability);
      }
      fmt::print("{}: {}\n", index, text);
      return;
    }
    nlohmann::json classes = nlohmann::json::array();
    for (const auto& [number, probability] : prediction) {
      classes.push_back({{"class", number}, {"name", names[number]}, {"probability", probability}});
    }
    const nlohmann::json line{{"index", index},
                              {"class", prediction.front().index},
                              {"name", names[prediction.front().index]},
                              {"top", classes}};
    fmt::print("{}\n", line.dump());
  }
};

}  // namespace

Command addPredictCommand(CLI::App& tool) {
  const auto command = std::make_shared<PredictCommand>();
  command->images = std::string(formats::kDebianFashionMnist) + "/t10k-images-idx3-ubyte.gz";
  CLI::App* const app = tool.add_subcommand("predict", "Tell the classes of images with a trained network");
  app->add_option("weights", command->weights, "Directory of a run, or a weights file")->type_name("RUN")->required();
  app->add_option("--images", command->images, "IDX file of images, gzip or not")
      ->type_name("FILE")
      ->capture_default_str();
  app->add_option("--index", command->indices, "Which images, from 0 (default: all)")
      ->type_name("N,N...")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app->add_option("--top", command->top, "Classes to name for each image")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->device.addTo(*app);
  app->add_flag("--json", command->json, "Print one JSON object per line");
  return {.app = app, .action = [command] { return command->run(); }};
}
