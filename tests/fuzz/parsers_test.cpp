// The fuzzers' functions on seeded mutations of good files: the same inputs in every run, on every machine.

#include "parsers.hpp"

#include "../formats/gzip_bytes.hpp"
#include "../formats/idx_bytes.hpp"
#include "../formats/safetensors_vectors.hpp"

#include "training/layered_network.hpp"

#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace metalloid::fuzz {
namespace {

using namespace metalloid::testing;

using Target = void (*)(std::span<const std::byte>);

void feed(Target target, const std::string& bytes) { target(std::as_bytes(std::span(bytes.data(), bytes.size()))); }

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> corpus) : corpus_(std::move(corpus)) {}

  std::string next() {
    std::string bytes = corpus_[below(corpus_.size())];
    for (std::size_t count = 1 + below(4); count > 0; --count) mutate(bytes);
    return bytes;
  }

  std::size_t below(std::size_t bound) {
    return random_() % bound;
  }  // not std::uniform_int_distribution: its results
     // differ between standard libraries
 private:
  void mutate(std::string& bytes) {
    static constexpr unsigned char kInteresting[]{0,    1,    2,   3,   7,   8,   9,   0x1f, 0x7f, 0x80,
                                                  0x8b, 0xff, '"', '{', '[', ']', '}', ',',  '-',  '\n'};
    const std::size_t at = bytes.empty() ? 0 : below(bytes.size());
    switch (below(8)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
      case 2:
        if (!bytes.empty()) bytes[at] = static_cast<char>(kInteresting[below(std::size(kInteresting))]);
        break;
      case 3:
        bytes.insert(at, 1 + below(4), static_cast<char>(kInteresting[below(std::size(kInteresting))]));
        break;
      case 4:
        bytes.erase(at, 1 + below(8));
        break;
      case 5:
        bytes.resize(at);
        break;
      case 6:  // a piece of the file once more
        bytes.insert(at, bytes.substr(bytes.empty() ? 0 : below(bytes.size()), 1 + below(32)));
        break;
      case 7: {  // the end of another file
        const std::string& other = corpus_[below(corpus_.size())];
        bytes = bytes.substr(0, at) + other.substr(below(other.size() + 1));
        break;
      }
    }
  }

  std::vector<std::string> corpus_;
  std::mt19937_64 random_{20240229};
};

/// More iterations for a longer search: METALLOID_FUZZ_FACTOR=100.
std::size_t iterations(std::size_t count) {
  const char* factor = std::getenv("METALLOID_FUZZ_FACTOR");
  return factor == nullptr ? count : count * std::strtoul(factor, nullptr, 10);
}

void run(Target target, const std::vector<std::string>& corpus, std::size_t count,
         const std::function<std::string(std::string, Mutator&)>& wrap = {}) {
  feed(target, "");
  for (const std::string& file : corpus) feed(target, file);
  Mutator mutator(corpus);
  for (std::size_t i = 0; i < iterations(count); ++i) {
    std::string bytes = mutator.next();
    feed(target, wrap ? wrap(std::move(bytes), mutator) : bytes);
  }
}

std::vector<std::string> idxCorpus() {
  return {imageBytes(3, 4, 5), labelBytes({1, 2, 3, 4}), idxBytes(0xD01, {2}, "12345678"),
          idxBytes(0xE02, {1, 2}, "1234567812345678")};
}

TEST(FuzzIdx, plain) { run(idx, idxCorpus(), 5000); }

TEST(FuzzIdx, damagedInsideAGzipStream) {
  run(idx, idxCorpus(), 2000, [](std::string bytes, Mutator& mutator) {
    const std::size_t cut = mutator.below(bytes.size() + 1);  // two members
    return gzip(bytes.substr(0, cut)) + gzip(bytes.substr(cut));
  });
}

TEST(FuzzIdx, damagedGzipStream) {
  std::vector<std::string> corpus;
  for (const std::string& file : idxCorpus()) {
    corpus.push_back(gzip(file));
    corpus.push_back(gzip(file, 0));
  }
  run(idx, corpus, 5000);
}

TEST(FuzzSafetensors, damaged) {
  const std::string python(reinterpret_cast<const char*>(kPythonSafetensors), sizeof kPythonSafetensors);
  run(safetensors, {python}, 5000);
  // Without the length in front a change of the header's size would end every search: put the right one there.
  run(safetensors, {python.substr(8)}, 5000, [](std::string bytes, Mutator&) {
    const std::size_t end = bytes.rfind('}');
    const std::uint64_t length = end == std::string::npos ? bytes.size() : end + 1;
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + bytes;
  });
}

TEST(FuzzJson, damaged) {
  run(json, {goodCheckpointState(), "[1e308,-0.0,\"\\u00e4\",{}]", "{\"a\":{\"b\":[[]]}}"}, 5000);
}

TEST(FuzzCheckpointState, damaged) { run(checkpointState, {goodCheckpointState()}, 500); }

TEST(FuzzJsonLines, damaged) {
  run(jsonLines, {"{\"step\":10}\n{\"step\":100,\"loss\":0.5}\n{\"step\":200}\n", "{\"run\":1}\n{\"step\":1}\n{\"st"},
      500);
}

TEST(FuzzNetwork, damaged) {
  const std::string branches =
      "x = input 8x8x4 # images\na = convolution 3x3x8 stride 2x1 dilation 2 groups 4 padding full\n"
      "b = prelu a 0.1 from x\nmax-pool 2x2 padding valid\nc = reshape 1x1x64\nfrom a\nspatial-mean\nd = dense 64\n"
      "batch-normalization epsilon 1e-3 momentum 0.5\nadd c d\nconcatenate c d c\ndropout 0.5 name last\nsoftmax\n";
  run(network, {std::string(training::builtInNetwork("lenet")), std::string(training::builtInNetwork("mlp")), branches},
      5000);
}

}  // namespace
}  // namespace metalloid::fuzz
