#include "command.hpp"
#include "core/format.hpp"
#include "formats/image_dataset.hpp"
#include "training/evaluator.hpp"
#include "training/network_file.hpp"
#include "training/sample_order.hpp"
#include "training_arguments.hpp"

#include <metalloid/error.hpp>

#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

using namespace metalloid;
using namespace metalloid::training;

namespace {

constexpr std::size_t kBatch = 256;

struct EvaluateCommand {
  std::string weights;
  std::string data = formats::kDebianFashionMnist;
  DeviceArguments device;
  bool json = false;

  int run() const {
    const Device chosen = device.computingDevice();
    const auto dataset = formats::loadImageDataset(data);
    const TrainedNetwork trained = loadNetwork(weightsAt(weights));
    const auto& description = trained.description;
    if (dataset.rows != description.rows || dataset.columns != description.columns ||
        dataset.classes > description.network.classes) {
      throw Error(
          ErrorCode::invalidArgument,
          fmt::format("The images in \"{}\" are {} x {} of {} classes, but the network is made for {} x {} of {}.",
                      data, dataset.rows, dataset.columns, dataset.classes, description.rows, description.columns,
                      description.network.classes));
    }
    const auto model = makeModel(chosen, description.network, kBatch);
    model->assign(trained.tensors);
    BatchLoader loader(chosen, model->batchLayout(), kBatch, description.normalization);
    Evaluator evaluator(*model, chosen.makeCommandQueue(), dataset.test.count());
    const Evaluation result = evaluator.evaluate(loader, dataset.test, naturalOrder(dataset.test.count()));
    print(result, confusionMatrix(description.classNames, dataset.test.labels, result.predicted));
    return 0;
  }

  void print(const Evaluation& result, const ConfusionMatrix& confusion) const {
    const auto scores = classScores(confusion);
    if (!json) {
      fmt::print("{} test images: loss {:.4f}, accuracy {:.2f} %\n\n", result.predicted.size(), result.loss,
                 100 * result.accuracy);
      fmt::print("{:<16} {:>8} {:>10} {:>8} {:>8}\n", "class", "images", "precision", "recall", "F1");
      for (std::size_t i = 0; i < scores.size(); ++i) {
        fmt::print("{:<16} {:>8} {:>10.4f} {:>8.4f} {:>8.4f}\n", confusion.classNames[i], scores[i].images,
                   scores[i].precision, scores[i].recall, scores[i].f1);
      }
      return;
    }
    nlohmann::json classes = nlohmann::json::array();
    for (std::size_t i = 0; i < scores.size(); ++i) {
      classes.push_back({{"name", confusion.classNames[i]},
                         {"images", scores[i].images},
                         {"precision", scores[i].precision},
                         {"recall", scores[i].recall},
                         {"f1", scores[i].f1}});
    }
    const nlohmann::json line{{"images", result.predicted.size()},
                              {"test_loss", result.loss},
                              {"test_accuracy", result.accuracy},
                              {"classes", classes}};
    fmt::print("{}\n", line.dump());
  }
};

}  // namespace

Command addEvaluateCommand(CLI::App& tool) {
  const auto command = std::make_shared<EvaluateCommand>();
  CLI::App* const app = tool.add_subcommand("evaluate", "Evaluate a trained network on the test images");
  app->add_option("weights", command->weights, "Directory of a run, or a weights file")->type_name("RUN")->required();
  app->add_option("--data", command->data, "Directory with the images")->type_name("DIR")->capture_default_str();
  command->device.addTo(*app);
  app->add_flag("--json", command->json, "Print one JSON object");
  return {.app = app, .action = [command] { return command->run(); }};
}
