#pragma once

/// Listens to SIGINT and SIGTERM from now on: the first asks the job to stop in order, a second ends the process.
void listenForInterruption();

/// Whether one of the signals has come.
bool isInterrupted() noexcept;
