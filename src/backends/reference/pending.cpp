// Image kernels on their way: each goes to the file of its name, and this file goes with the last.

#include "backends/reference/kernels.hpp"

#include <metalloid/error.hpp>

namespace metalloid::reference {
namespace {

[[noreturn]] void notYet(const char* name) {
  throw Error(ErrorCode::unsupported, std::string(name) + " is not there yet.");
}

}  // namespace

void run(const operations::CNNPooling&) { notYet(operations::CNNPooling::kName); }
void run(const operations::CNNPoolingGradient&) { notYet(operations::CNNPoolingGradient::kName); }
void run(const operations::CNNUpsampling&) { notYet(operations::CNNUpsampling::kName); }
void run(const operations::CNNUpsamplingGradient&) { notYet(operations::CNNUpsamplingGradient::kName); }

}  // namespace metalloid::reference
