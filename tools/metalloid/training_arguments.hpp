#pragma once

#include "training/training_options.hpp"

#include <metalloid/device.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

/// `--network`: a built-in network, or a file that describes one.
class NetworkChoice {
 public:
  explicit NetworkChoice(std::string name = {}) : name_(std::move(name)) {}
  void addTo(CLI::App& app, const std::string& defaultName);

  bool isMlp() const { return name_ == "mlp"; }
  const std::string& name() const { return name_; }

  /// The described network, with its inputs and classes. @throws UsageError for a file that is not there, Error
  /// (malformedFile) for a description that is wrong.
  metalloid::training::NetworkOptions described() const;

 private:
  std::string name_;
};

/// The options that describe a network, shared by train, explain and gradcheck.
class NetworkArguments {
 public:
  /// gradcheck knows the built-in `mlp` only.
  void addTo(CLI::App& app, bool onlyMlp = false);

  /// @throws UsageError for what cannot be.
  metalloid::training::NetworkOptions options() const;
  bool isMlp() const { return choice_.isMlp(); }

 private:
  NetworkChoice choice_;
  std::vector<const CLI::Option*> mlpOptions_;
  std::string hidden_ = "512,256";
  std::string neuron_ = "relu";
  std::optional<float> a_, b_, c_;
  metalloid::training::NetworkOptions defaults_;
};

/// The options that describe a training run, apart from its network and its files.
class TrainingArguments {
 public:
  void addTo(CLI::App& app);

  /// @throws UsageError for what cannot be.
  metalloid::training::TrainingOptions options(const NetworkArguments& network) const;

 private:
  metalloid::training::TrainingOptions options_;
  std::string optimizer_ = "adam";
  std::optional<float> learningRate_;
  std::optional<float> gradientClip_;
  std::optional<std::size_t> batchSize_;
  std::string schedule_ = "cosine";
};

/// `--device` and `--threads`.
class DeviceArguments {
 public:
  void addTo(CLI::App& app, const std::string& what = "Device to compute on");

  /// The device, with its number of threads set. @throws UsageError when there is no such device.
  metalloid::Device device() const;

  /// The same, for work whose results matter: the device null, which leaves them as they are, is refused.
  metalloid::Device computingDevice() const { return computingDevice(name_); }
  metalloid::Device computingDevice(const std::string& name) const;

  const std::string& name() const { return name_; }

 private:
  std::string name_ = "cpu";
  std::optional<std::size_t> threads_;
};
