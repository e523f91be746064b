#include "interruption.hpp"

#include <csignal>

namespace {

volatile std::sig_atomic_t interrupted = 0;

extern "C" void rememberInterruption(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void listenForInterruption() {
  std::signal(SIGINT, rememberInterruption);
  std::signal(SIGTERM, rememberInterruption);
}

bool isInterrupted() noexcept { return interrupted != 0; }
