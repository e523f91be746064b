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
void run(const operations::CNNSoftMax&) { notYet(operations::CNNSoftMax::kName); }
void run(const operations::CNNSoftMaxGradient&) { notYet(operations::CNNSoftMaxGradient::kName); }
void run(const operations::CNNDropout&) { notYet(operations::CNNDropout::kName); }
void run(const operations::CNNDropoutGradient&) { notYet(operations::CNNDropoutGradient::kName); }
void run(const operations::CNNUpsampling&) { notYet(operations::CNNUpsampling::kName); }
void run(const operations::CNNUpsamplingGradient&) { notYet(operations::CNNUpsamplingGradient::kName); }
void run(const operations::CNNLoss&) { notYet(operations::CNNLoss::kName); }
void run(const operations::NNLossGradient&) { notYet(operations::NNLossGradient::kName); }

}  // namespace metalloid::reference
