#include "generate/stop_text.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tamis {

StopTextFilter::StopTextFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    Require(!stop.empty(), "a stop text is empty; give the text that shall end the generation");
  }
}

std::string StopTextFilter::Push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;

  size_t first_end = std::string::npos;
  size_t begin = 0;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < begin)) {
      first_end = end;
      begin = at;
    }
  }
  if (first_end != std::string::npos) {
    stopped_ = true;
    held_.resize(begin);
    return std::exchange(held_, {});
  }

  // Hold back the longest ending that a stop text begins with.
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(held_.size(), stop.size() - 1); length > hold; --length) {
      if (std::string_view(held_).substr(held_.size() - length) ==
          std::string_view(stop).substr(0, length)) {
        hold = length;
      }
    }
  }
  std::string ready = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return ready;
}

std::string StopTextFilter::Finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

}  // namespace tamis
