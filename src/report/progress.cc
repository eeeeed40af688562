#include "report/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "report/text_width.h"
#include "report/units.h"

namespace tamis {
namespace {

constexpr int kLongestBar = 30;
constexpr int kShortestBar = 6;

std::string Bar(double share, int cells) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::floor(share * cells * 8));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  return Pad(bar, cells);
}

std::string Eta(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(std::min(seconds, 359999.0)));
  if (whole >= 3600) {
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

std::string FormatProgress(const ProgressState& state, int columns) {
  const double share = state.total > 0.0 ? std::clamp(state.done / state.total, 0.0, 1.0) : 0.0;
  std::string right = fmt::format("{:3.0f}%", std::floor(100.0 * share));
  if (state.done > 0.0 && state.seconds > 0.0) {
    if (!state.unit.empty()) {
      right += fmt::format("  {} {}/s", FormatNumber(state.done / state.seconds), state.unit);
    }
    right += "  ETA " + Eta(state.seconds * (1.0 - share) / std::max(share, 1e-9));
  }
  const int bar =
      std::min(kLongestBar, columns - DisplayWidth(state.title) - DisplayWidth(right) - 6);
  if (bar >= kShortestBar) return fmt::format("{}  [{}]  {}", state.title, Bar(share, bar), right);
  const std::string line = state.title + "  " + right;
  return DisplayWidth(line) <= columns ? line : WrapText(line, columns).front();
}

Progress::Progress(std::string title, double total, std::string unit)
    : terminal_(Terminal::Of(STDERR_FILENO)) {
  state_.title = std::move(title);
  state_.total = total;
  state_.unit = std::move(unit);
}

void Progress::Update(double done) {
  state_.done = done;
  if (!terminal_.interactive) return;
  const Clock::time_point now = Clock::now();
  if (now - start_ < std::chrono::seconds(1)) return;
  if (drawn_ && now - drawn_at_ < std::chrono::milliseconds(100)) return;
  state_.seconds = std::chrono::duration<double>(now - start_).count();
  // The last column stays free: writing there makes some terminals wrap.
  fmt::print(stderr, "\r\x1b[K{}", FormatProgress(state_, terminal_.columns - 1));
  std::fflush(stderr);
  drawn_ = true;
  drawn_at_ = now;
}

void Progress::Clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace tamis
