#include "training/checkpoint_files.hpp"

#include "../formats/expect_error.hpp"
#include "../formats/temporary_directory.hpp"
#include "formats/atomic_file.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace metalloid::training {
namespace {

using namespace metalloid::testing;
namespace fs = std::filesystem;

Checkpoint sample(std::uint64_t step) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.epoch = 2;
  checkpoint.position = 1280;
  checkpoint.toolVersion = "0.1.0";
  checkpoint.options = {{"hidden", {8, 4}}, {"learning_rate", 0.001}, {"data", "a \"path\"\n"}};
  checkpoint.random = {{"seed", std::uint64_t{0xFFFFFFFFFFFFFFFF}}, {"counter", {1, 2, 3, 4}}};
  checkpoint.meters = {{"loss_sum", 0.1 + 0.2}, {"count", 1280}};
  checkpoint.tensors = {{"fc1.weights", {2, 3}, {1, -2, 3.5f, 1e-40f, -0.0f, static_cast<float>(step)}},
                        {"fc1.biases", {3}, {0, 0.1f, std::numeric_limits<float>::infinity()}},
                        {"unused", {0}, {}}};
  return checkpoint;
}

void expectEqual(const Checkpoint& actual, const Checkpoint& expected) {
  EXPECT_EQ(actual.step, expected.step);
  EXPECT_EQ(actual.epoch, expected.epoch);
  EXPECT_EQ(actual.position, expected.position);
  EXPECT_EQ(actual.toolVersion, expected.toolVersion);
  EXPECT_EQ(actual.options, expected.options);
  EXPECT_EQ(actual.random, expected.random);
  EXPECT_EQ(actual.meters, expected.meters);
  ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
  for (const NamedTensor& tensor : expected.tensors) {
    ASSERT_NE(actual.find(tensor.name), nullptr) << tensor.name;
    EXPECT_EQ(*actual.find(tensor.name), tensor);
  }
}

TEST(CheckpointFiles, readWhatWasWritten) {
  const TemporaryDirectory run;
  const fs::path path = writeCheckpoint(run.path(), sample(123));
  EXPECT_EQ(path, run / "checkpoints/step-000123");
  const Checkpoint read = loadCheckpoint(path);
  expectEqual(read, sample(123));
  EXPECT_TRUE(std::signbit(read.find("fc1.weights")->values[4]));
  EXPECT_EQ(read.find("absent"), nullptr);
}

TEST(CheckpointFiles, keepTheBitsOfEveryFloat) {
  const TemporaryDirectory run;
  Checkpoint checkpoint = sample(1);
  const std::uint32_t patterns[]{0x7FC00001, 0xFFC12345, 0x7F800001, 0x00000001, 0x80000000};
  std::vector<float> values(std::size(patterns));
  std::memcpy(values.data(), patterns, sizeof patterns);
  checkpoint.tensors = {{"odd", {std::size(patterns)}, values}};
  const Checkpoint read = loadCheckpoint(writeCheckpoint(run.path(), checkpoint));
  EXPECT_EQ(std::memcmp(read.tensors.at(0).values.data(), patterns, sizeof patterns), 0);
}

TEST(CheckpointFiles, areListedByStep) {
  const TemporaryDirectory run;
  EXPECT_TRUE(listCheckpoints(run.path()).empty());
  EXPECT_FALSE(loadNewestCheckpoint(run.path()).checkpoint);
  for (std::uint64_t step : {200u, 5u, 1234567u, 999999u}) writeCheckpoint(run.path(), sample(step));
  fs::create_directory(run / "checkpoints/step-12x");
  fs::create_directory(run / "checkpoints/other");
  writeFile(run / "checkpoints/step-000300", "a file");
  std::vector<std::uint64_t> steps;
  for (const CheckpointEntry& entry : listCheckpoints(run.path())) steps.push_back(entry.step);
  EXPECT_EQ(steps, (std::vector<std::uint64_t>{5, 200, 999999, 1234567}));
  EXPECT_EQ(loadNewestCheckpoint(run.path()).checkpoint->step, 1234567u);
}

TEST(CheckpointFiles, keepTheLast) {
  const TemporaryDirectory run;
  for (std::uint64_t step = 1; step <= 5; ++step) writeCheckpoint(run.path(), sample(step));
  keepLastCheckpoints(run.path(), 9);
  EXPECT_EQ(listCheckpoints(run.path()).size(), 5u);
  keepLastCheckpoints(run.path(), 2);
  const auto left = listCheckpoints(run.path());
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].step, 4u);
  EXPECT_EQ(left[1].step, 5u);
}

TEST(CheckpointFiles, areReplaced) {
  const TemporaryDirectory run;
  const fs::path path = writeCheckpoint(run.path(), sample(7));
  writeFile(path / "tensors.safetensors", "damage");
  writeCheckpoint(run.path(), sample(7));
  expectEqual(loadCheckpoint(path), sample(7));
  EXPECT_EQ(removeUnfinishedWrites(run.path()), 0u);
}

TEST(CheckpointFiles, surviveAFullDisk) {
  const TemporaryDirectory run;
  writeCheckpoint(run.path(), sample(1));
  Checkpoint large = sample(2);
  large.tensors.push_back({"large", {100000}, std::vector<float>(100000, 1.0f)});
  {
    const FileSizeLimit limit(65536);
    expectError(
        ErrorCode::device,
        {"the checkpoint of step 2", (run / "checkpoints/step-000002/tensors.safetensors").string(), "File too large"},
        [&] { writeCheckpoint(run.path(), large); });
  }
  EXPECT_EQ(listCheckpoints(run.path()).size(), 1u);
  EXPECT_EQ(removeUnfinishedWrites(run.path()), 0u);
  expectEqual(*loadNewestCheckpoint(run.path()).checkpoint, sample(1));
}

TEST(CheckpointFiles, newestSkipsTheDamaged) {
  const TemporaryDirectory run;
  writeCheckpoint(run.path(), sample(1));
  const fs::path second = writeCheckpoint(run.path(), sample(2));
  const fs::path third = writeCheckpoint(run.path(), sample(3));
  fs::remove(second / "state.json");
  fs::resize_file(third / "tensors.safetensors", 100);
  const NewestCheckpoint newest = loadNewestCheckpoint(run.path());
  ASSERT_TRUE(newest.checkpoint);
  expectEqual(*newest.checkpoint, sample(1));
  ASSERT_EQ(newest.damaged.size(), 2u);
  EXPECT_NE(newest.damaged[0].find("step-000003/tensors.safetensors\" holds 100 bytes, but"), std::string::npos)
      << newest.damaged[0];
  EXPECT_NE(newest.damaged[1].find("step-000002/state.json\" does not exist"), std::string::npos) << newest.damaged[1];
}

TEST(CheckpointFiles, leftoversOfKilledRunsAreRemoved) {
  const TemporaryDirectory run;
  const fs::path path = writeCheckpoint(run.path(), sample(1));
  fs::create_directory(formats::temporarySibling(run / "checkpoints/step-000002"));
  writeFile(formats::temporarySibling(run / "report.html"), "half");
  EXPECT_EQ(listCheckpoints(run.path()).size(), 1u);
  EXPECT_EQ(removeUnfinishedWrites(run.path()), 2u);
  expectEqual(loadCheckpoint(path), sample(1));
  EXPECT_EQ(removeUnfinishedWrites(run / "absent"), 0u);
}

TEST(CheckpointFiles, everySingleDamagedByteIsNoticedOrHarmless) {
  const TemporaryDirectory run;
  const Checkpoint written = sample(1);
  const fs::path path = writeCheckpoint(run.path(), written);
  for (const char* name : {"tensors.safetensors", "state.json"}) {
    const std::string whole = readFile(path / name);
    std::size_t noticed = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
      writeFile(path / name, damaged);
      try {
        expectEqual(loadCheckpoint(path), written);  // a blank that became a tab
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::malformedFile) << error.what();
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
        ++noticed;
      }
    }
    EXPECT_GE(noticed, whole.size() / 2) << name;
    for (std::size_t size = 0; size + 1 < whole.size(); ++size) {  // without its last newline state.json is whole
      writeFile(path / name, whole.substr(0, size));
      EXPECT_THROW(loadCheckpoint(path), Error) << name << " " << size;
    }
    writeFile(path / name, whole);
  }
  expectEqual(loadCheckpoint(path), written);
}

TEST(CheckpointFiles, saysWhatDiffers) {
  const TemporaryDirectory run;
  const fs::path path = writeCheckpoint(run.path(), sample(1));
  const std::string state = readFile(path / "state.json");
  const auto expectDamage = [&](std::initializer_list<std::string> fragments) {
    expectError(ErrorCode::malformedFile, fragments, [&] { loadCheckpoint(path); });
  };
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string text = state;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  writeFile(path / "state.json", replaced("\"position\": 1280", "\"position\": 1281"));
  expectDamage({"state.json\" has the CRC-32 ", " is expected"});
  writeFile(path / "state.json", replaced("\"version\": 1", "\"version\": 2"));
  expectDamage({"has the format version 2, but 1 is expected"});
  writeFile(path / "state.json", "{}");
  expectDamage({"lacks the member \"format\""});
  writeFile(path / "state.json", "[]");
  expectDamage({"is no JSON object"});
  writeFile(path / "state.json", state);

  std::string tensors = readFile(path / "tensors.safetensors");
  tensors.back() = static_cast<char>(tensors.back() ^ 1);
  writeFile(path / "tensors.safetensors", tensors);
  expectDamage({"tensors.safetensors\" has the CRC-32 ", "\"state.json\" records "});
  writeFile(path / "tensors.safetensors", tensors + "x");
  expectDamage({"tensors.safetensors\" holds ", "bytes, but at most"});

  fs::rename(path, run / "checkpoints/step-000009");
  writeCheckpoint(run.path(), sample(1));
  fs::rename(path, run / "checkpoints/step-000008");
  expectError(ErrorCode::malformedFile, {"records step 1, but its directory is named for step 8"},
              [&] { loadCheckpoint(run / "checkpoints/step-000008"); });
  expectError(ErrorCode::invalidArgument, {"absent\" is no directory"}, [&] { loadCheckpoint(run / "absent"); });
}

}  // namespace
}  // namespace metalloid::training
