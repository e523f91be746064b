// Compares the CPU back end's matrix product with the libraries that could stand in its place: speed, and whether the
// bits of a result depend on the number of threads. Libraries are loaded at run time, so that several builds of one
// library, which all define the same names, meet in one process:
//
//   gemm_libraries [--threads 1,2,4] [--shapes B,I,O[;B,I,O...]] name=kind:path ...
//
// kind is openblas, blis or onednn; path is what dlopen takes, for example
//
//   OMP_WAIT_POLICY=passive gemm_libraries openblas=openblas:libopenblas.so.0 blis=blis:libblis.so.4
//       onednn=onednn:libdnnl.so.2
//
// A shape is a batch B, inputs I and outputs O of a fully connected layer and gives three products: forward
// (X * W), data gradient (dY * W'), weight gradient (X' * dY). Each result is first compared with a sum in double
// precision over sampled elements. Then the candidates take turns, round after round; a turn rests until the others'
// threads have stopped spinning, warms up, and repeats the product for a few milliseconds. Reported: the ratio of
// medians over all rounds, candidate to ours, above 1 if ours is faster, with the quartiles of the ratios of single
// rounds.

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/gemm.hpp"

namespace {

using metalloid::cpu::Gemm;
using metalloid::cpu::GemmType;
using metalloid::cpu::ThreadPool;

struct Shape {
  std::size_t batch;
  std::size_t inputs;
  std::size_t outputs;
};

/// One float32 product, packed row-major.
struct Product {
  const char* name;
  std::size_t rows, columns, inner;
  bool transposeLeft, transposeRight;
  const float* left;
  const float* right;
};

struct Candidate {
  std::string name;
  std::function<void(unsigned threads)> setThreads;
  std::function<void(const Product&, float* result)> multiply;
};

template <class Function>
Function* symbol(void* library, const char* name) {
  void* address = dlsym(library, name);
  if (address == nullptr) throw std::runtime_error(std::string("There is no ") + name + ".");
  return reinterpret_cast<Function*>(address);
}

Candidate loadLibrary(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  const std::size_t colon = argument.find(':', equals);
  if (equals == std::string::npos || colon == std::string::npos) {
    throw std::runtime_error("\"" + argument + "\" is not name=kind:path.");
  }
  const std::string kind = argument.substr(equals + 1, colon - equals - 1);
  void* library = dlopen(argument.substr(colon + 1).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());

  Candidate candidate;
  candidate.name = argument.substr(0, equals);
  using Gemm32 = void(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
  const auto throughCblas = [gemm = kind == "onednn" ? nullptr : symbol<Gemm32>(library, "cblas_sgemm")](
                                const Product& p, float* result) {
    constexpr int kRowMajor = 101;
    constexpr int kNoTranspose = 111;
    constexpr int kTranspose = 112;
    const int m = static_cast<int>(p.rows);
    const int n = static_cast<int>(p.columns);
    const int k = static_cast<int>(p.inner);
    gemm(kRowMajor, p.transposeLeft ? kTranspose : kNoTranspose, p.transposeRight ? kTranspose : kNoTranspose, m, n, k,
         1.0F, p.left, p.transposeLeft ? m : k, p.right, p.transposeRight ? k : n, 0.0F, result, n);
  };
  if (kind == "openblas") {
    candidate.setThreads = [set = symbol<void(int)>(library, "openblas_set_num_threads")](unsigned threads) {
      set(static_cast<int>(threads));
    };
    candidate.multiply = throughCblas;
  } else if (kind == "blis") {
    candidate.setThreads = [set = symbol<void(std::int32_t)>(library, "bli_thread_set_num_threads")](unsigned threads) {
      set(static_cast<std::int32_t>(threads));
    };
    candidate.multiply = throughCblas;
  } else if (kind == "onednn") {
    candidate.setThreads = [set = symbol<void(int)>(library, "omp_set_num_threads")](unsigned threads) {
      set(static_cast<int>(threads));
    };
    using DnnlGemm = int(char, char, std::int64_t, std::int64_t, std::int64_t, float, const float*, std::int64_t,
                         const float*, std::int64_t, float, float*, std::int64_t);
    candidate.multiply = [gemm = symbol<DnnlGemm>(library, "dnnl_sgemm")](const Product& p, float* result) {
      const auto m = static_cast<std::int64_t>(p.rows);
      const auto n = static_cast<std::int64_t>(p.columns);
      const auto k = static_cast<std::int64_t>(p.inner);
      const int status = gemm(p.transposeLeft ? 'T' : 'N', p.transposeRight ? 'T' : 'N', m, n, k, 1.0F, p.left,
                              p.transposeLeft ? m : k, p.right, p.transposeRight ? k : n, 0.0F, result, n);
      if (status != 0) throw std::runtime_error("dnnl_sgemm fails.");
    };
  } else {
    throw std::runtime_error("There is no kind \"" + kind + "\".");
  }
  return candidate;
}

Candidate ours() {
  const auto pool = std::make_shared<std::unique_ptr<ThreadPool>>();
  Candidate candidate;
  candidate.name = "own";
  candidate.setThreads = [pool](unsigned threads) { *pool = std::make_unique<ThreadPool>(threads); };
  candidate.multiply = [pool](const Product& p, float* result) {
    Gemm gemm;
    gemm.rows = p.rows;
    gemm.columns = p.columns;
    gemm.inner = p.inner;
    gemm.left = {p.left, p.transposeLeft ? p.rows : p.inner, GemmType::float32, p.transposeLeft};
    gemm.right = {p.right, p.transposeRight ? p.inner : p.columns, GemmType::float32, p.transposeRight};
    gemm.result = {result, p.columns, GemmType::float32};
    metalloid::cpu::gemm(**pool, gemm);
  };
  return candidate;
}

/// Whether sampled elements are within what float32 sums of so many terms may be off.
bool isRight(const Product& p, const std::vector<float>& result) {
  std::mt19937 random(3);
  for (int sample = 0; sample < 200; ++sample) {
    const std::size_t row = random() % p.rows;
    const std::size_t column = random() % p.columns;
    double sum = 0.0;
    double magnitude = 0.0;
    for (std::size_t k = 0; k < p.inner; ++k) {
      const double product =
          static_cast<double>(p.left[p.transposeLeft ? k * p.rows + row : row * p.inner + k]) *
          static_cast<double>(p.right[p.transposeRight ? column * p.inner + k : k * p.columns + column]);
      sum += product;
      magnitude += std::fabs(product);
    }
    const double tolerance = static_cast<double>(p.inner + 2) * 0x1p-24 * magnitude;
    if (!(std::fabs(static_cast<double>(result[row * p.columns + column]) - sum) <= tolerance)) return false;
  }
  return true;
}

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double medianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// The median time of one product in one turn.
double turn(const Candidate& candidate, const Product& product, float* result) {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const Clock::time_point warming = Clock::now();
  do {
    candidate.multiply(product, result);
  } while (secondsSince(warming) < 0.002);
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    candidate.multiply(product, result);
    times.push_back(secondsSince(begin));
  } while (secondsSince(start) < 0.015);
  return medianOf(times);
}

void compare(std::vector<Candidate>& candidates, const Product& product, const Shape& shape,
             const std::vector<unsigned>& threadCounts) {
  std::vector<std::vector<std::vector<float>>> results(candidates.size());
  std::vector<float> scratch(product.rows * product.columns);
  const double flops = 2.0 * static_cast<double>(product.rows) * static_cast<double>(product.columns) *
                       static_cast<double>(product.inner);
  const std::size_t rounds = flops > 1e10 ? 5 : 15;
  for (const unsigned threads : threadCounts) {
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      candidates[c].setThreads(threads);
      std::vector<float> result(product.rows * product.columns);
      candidates[c].multiply(product, result.data());
      if (!isRight(product, result)) throw std::runtime_error(candidates[c].name + " computes wrong numbers.");
      results[c].push_back(std::move(result));
    }
    std::vector<std::vector<double>> times(candidates.size());
    for (std::size_t round = 0; round < rounds; ++round) {
      for (std::size_t c = 0; c < candidates.size(); ++c) {
        times[c].push_back(turn(candidates[c], product, scratch.data()));
      }
    }
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      std::vector<double> ratios;
      for (std::size_t round = 0; round < rounds; ++round) ratios.push_back(times[c][round] / times[0][round]);
      std::sort(ratios.begin(), ratios.end());
      std::printf("%zux%zux%zu | %s | %u | %s | %.2f | %.2f-%.2f |\n", shape.batch, shape.inputs, shape.outputs,
                  product.name, threads, candidates[c].name.c_str(), medianOf(times[c]) / medianOf(times[0]),
                  ratios[rounds / 4], ratios[rounds - 1 - rounds / 4]);
    }
    std::fflush(stdout);
  }
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    bool equal = true;
    for (const std::vector<float>& result : results[c]) {
      equal = equal && std::memcmp(result.data(), results[c][0].data(), result.size() * sizeof(float)) == 0;
    }
    std::printf("%zux%zux%zu | %s | bits | %s | %s |\n", shape.batch, shape.inputs, shape.outputs, product.name,
                candidates[c].name.c_str(), equal ? "equal" : "differ");
  }
}

std::vector<std::size_t> numbers(const std::string& text) {
  std::vector<std::size_t> values;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) values.push_back(std::stoul(part));
  return values;
}

int runStudy(int argc, char** argv) {
  std::vector<unsigned> threadCounts{1, 2, 4};
  std::vector<Shape> shapes{{128, 784, 512},  {128, 512, 512},    {128, 512, 10},     {256, 1024, 1024},
                            {1024, 784, 512}, {1024, 1024, 1024}, {2048, 4096, 4096}, {64, 4096, 4096}};
  std::vector<Candidate> candidates{ours()};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--threads" && i + 1 < argc) {
      threadCounts.clear();
      for (const std::size_t count : numbers(argv[++i])) threadCounts.push_back(static_cast<unsigned>(count));
    } else if (argument == "--shapes" && i + 1 < argc) {
      shapes.clear();
      std::istringstream in(argv[++i]);
      for (std::string part; std::getline(in, part, ';');) {
        const std::vector<std::size_t> sizes = numbers(part);
        if (sizes.size() != 3) throw std::runtime_error("\"" + part + "\" is not B,I,O.");
        shapes.push_back({sizes[0], sizes[1], sizes[2]});
      }
    } else {
      candidates.push_back(loadLibrary(argument));
    }
  }

  std::printf("instruction set: %s\nshape | product | threads | candidate | time / own time | quartiles |\n",
              metalloid::cpu::gemmTargetName());
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  for (const Shape& s : shapes) {
    std::vector<float> input(s.batch * s.inputs);
    std::vector<float> weights(s.inputs * s.outputs);
    std::vector<float> gradient(s.batch * s.outputs);
    for (std::vector<float>* values : {&input, &weights, &gradient}) {
      for (float& value : *values) value = uniform(random);
    }
    const Product products[] = {
        {"forward", s.batch, s.outputs, s.inputs, false, false, input.data(), weights.data()},
        {"data gradient", s.batch, s.inputs, s.outputs, false, true, gradient.data(), weights.data()},
        {"weight gradient", s.inputs, s.outputs, s.batch, true, false, input.data(), gradient.data()}};
    for (const Product& product : products) compare(candidates, product, s, threadCounts);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return runStudy(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
