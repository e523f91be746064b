// Uses the installed package the way a stranger would, through the public headers alone: computes a gradient on every
// device, and catches an exception that crosses the library's border.
#include <metalloid/metalloid.hpp>

#include <iostream>
#include <vector>

namespace mps = metalloid;

namespace {

// dx = dy W^T for dy = (1, 2) and W = ((3, 4), (5, 6), (7, 8)): (11, 17, 23), exact in every arithmetic.
bool computesTheGradient(const mps::Device& device) {
  const mps::CommandQueue queue = device.makeCommandQueue();
  const mps::Matrix dy(device, {.rows = 1, .columns = 2});
  const mps::Matrix w(device, {.rows = 3, .columns = 2});
  const mps::Matrix dx(device, {.rows = 1, .columns = 3});
  dy.write(std::vector<float>{1, 2});
  w.write(std::vector<float>{3, 4, 5, 6, 7, 8});

  const mps::MatrixFullyConnectedGradient gradient(device);
  mps::CommandBuffer commands = queue.makeCommandBuffer();
  gradient.encodeForData(commands, {.gradientMatrix = dy, .weightMatrix = w, .resultGradientForDataMatrix = dx});
  commands.commit();
  commands.waitUntilCompleted();
  return dx.read<float>() == std::vector<float>{11, 17, 23};
}

bool throwsAcrossTheBorder() {
  try {
    mps::Device::named("no such device");
  } catch (const mps::Error& error) {
    std::cout << error.what() << '\n';
    return error.code() == mps::ErrorCode::invalidArgument;
  }
  return false;
}

}  // namespace

int main() {
  bool passed = throwsAcrossTheBorder();
  for (const char* name : {"cpu", "reference"}) {
    const bool right = computesTheGradient(mps::Device::named(name));
    std::cout << name << (right ? ": right\n" : ": wrong\n");
    passed = passed && right;
  }
  return passed ? 0 : 1;
}
