// Ending a stream of text at a stop text, without ever showing a part of one.
#ifndef TAMIS_GENERATE_STOP_TEXT_H_
#define TAMIS_GENERATE_STOP_TEXT_H_

#include <string>
#include <string_view>
#include <vector>

namespace tamis {

/// Passes text through, holding back what may still become a stop text. The stop text that ends
/// first wins; of those that end together, the one that began first.
class StopTextFilter {
 public:
  /// Throws Error for an empty stop text.
  explicit StopTextFilter(std::vector<std::string> stops);

  /// Takes more text; returns what became final. Nothing comes after stopped().
  std::string Push(std::string_view text);
  /// What was held back, once no more text comes.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  ///< a proper prefix of some stop text, or empty
  bool stopped_ = false;
};

}  // namespace tamis

#endif  // TAMIS_GENERATE_STOP_TEXT_H_
