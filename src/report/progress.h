// One line of progress on stderr.
#ifndef TAMIS_REPORT_PROGRESS_H_
#define TAMIS_REPORT_PROGRESS_H_

#include <chrono>
#include <string>
#include <string_view>

#include "report/terminal.h"

namespace tamis {

struct ProgressState {
  std::string title;
  double done = 0.0;
  double total = 0.0;
  double seconds = 0.0;  ///< since the start
  /// What done counts, for the rate: "tokens". Empty: no rate is shown.
  std::string unit = {};
};

/// Title, bar, share, rate and time left, in at most `columns` columns.
std::string FormatProgress(const ProgressState& state, int columns);

/// Draws at most ten times a second, from the first second on, only where stderr is a terminal.
/// The line is wiped at the end. Not thread-safe.
class Progress {
 public:
  Progress(std::string title, double total, std::string unit = {});
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void SetTitle(std::string_view title) { state_.title = title; }
  void Update(double done);
  /// Wipes the line, for other output; a later Update draws it again.
  void Clear();

 private:
  using Clock = std::chrono::steady_clock;
  const Terminal terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_at_ = {};
  bool drawn_ = false;
  ProgressState state_;
};

}  // namespace tamis

#endif  // TAMIS_REPORT_PROGRESS_H_
