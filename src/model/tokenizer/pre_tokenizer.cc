#include "model/tokenizer/pre_tokenizer.h"

#include <utility>

#include "model/tokenizer/unicode_additions.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

/// Calls visit(begin, end, is_match) for the matches of `regex` in `piece` and what lies between,
/// in order. An empty match is skipped where the match before it ends.
template <typename Visit>
void ForEachSegment(const Regex& regex, std::string_view piece, RegexScratch& scratch,
                    Visit&& visit) {
  size_t covered = 0;  // end of what was visited
  size_t from = 0;     // where the next search starts
  bool matched_before = false;
  size_t begin = 0;
  size_t end = 0;
  while (from <= piece.size() && regex.Find(piece, from, scratch, begin, end)) {
    if (begin == end && matched_before && end == covered) {
      if (from >= piece.size()) break;
      from += DecodeUtf8(piece.substr(from)).bytes;
      continue;
    }
    if (covered != begin) visit(covered, begin, false);
    visit(begin, end, true);
    matched_before = true;
    covered = end;
    from = end;
  }
  if (covered != piece.size()) visit(covered, piece.size(), false);
}

struct Segment {
  size_t begin;
  size_t end;
  bool is_match;
};

/// Joins neighbouring segments; what is_match says afterwards does not matter.
std::vector<Segment> Merge(std::vector<Segment> segments, SplitBehavior behavior) {
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(segments.begin(), segments.end());
  std::vector<Segment> merged;
  bool previous = false;
  for (const Segment& segment : segments) {
    const bool joins = behavior == SplitBehavior::kContiguous ? segment.is_match == previous
                                                              : segment.is_match && !previous;
    if (joins && !merged.empty()) {
      (backwards ? merged.back().begin : merged.back().end) =
          backwards ? segment.begin : segment.end;
    } else {
      merged.push_back(segment);
    }
    previous = segment.is_match;
  }
  if (backwards) std::reverse(merged.begin(), merged.end());
  return merged;
}

}  // namespace

void PreTokenizer::AddSplit(Regex regex, SplitBehavior behavior, bool invert) {
  steps_.push_back({.regex = std::move(regex), .behavior = behavior, .invert = invert});
}

void PreTokenizer::AddDigits(bool individual) {
  AddSplit(Regex("[" + NumericClass() + (individual ? "]" : "]+")), SplitBehavior::kIsolated);
}

void PreTokenizer::AddByteLevel(bool add_prefix_space, bool use_regex) {
  Step step{.add_prefix_space = add_prefix_space};
  if (use_regex) step.regex = Regex::FromOniguruma(kGpt2Pattern);
  steps_.push_back(std::move(step));
}

void PreTokenizer::Split(std::string_view text, RegexScratch& scratch, const Sink& sink) const {
  if (!text.empty()) Apply(0, text, scratch, sink);
}

void PreTokenizer::Apply(size_t index, std::string_view piece, RegexScratch& scratch,
                         const Sink& sink) const {
  if (index == steps_.size()) {
    sink(piece);
    return;
  }
  const Step& step = steps_[index];
  std::string prefixed;
  if (step.add_prefix_space && !piece.starts_with(' ')) {
    prefixed.reserve(piece.size() + 1);
    prefixed.append(1, ' ').append(piece);
    piece = prefixed;
  }
  const auto emit = [&](size_t begin, size_t end) {
    if (begin != end) Apply(index + 1, piece.substr(begin, end - begin), scratch, sink);
  };
  if (!step.regex) {
    emit(0, piece.size());
    return;
  }
  if (step.behavior == SplitBehavior::kIsolated || step.behavior == SplitBehavior::kRemoved) {
    ForEachSegment(*step.regex, piece, scratch, [&](size_t begin, size_t end, bool is_match) {
      const bool dropped = step.behavior == SplitBehavior::kRemoved && is_match != step.invert;
      if (!dropped) emit(begin, end);
    });
    return;
  }
  std::vector<Segment> segments;
  ForEachSegment(*step.regex, piece, scratch, [&](size_t begin, size_t end, bool is_match) {
    segments.push_back({begin, end, is_match != step.invert});
  });
  for (const Segment& segment : Merge(std::move(segments), step.behavior)) {
    emit(segment.begin, segment.end);
  }
}

}  // namespace tamis
