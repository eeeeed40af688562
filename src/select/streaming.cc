#include "select/streaming.h"

#include <algorithm>

#include "attention/sequence_view.h"
#include "select/selector_call.h"
#include "select/visibility.h"

namespace tamis {
namespace {

constexpr int32_t kBlock = 128;

/// The first key of the sequence at a position >= `position`.
int32_t FirstKeyFrom(const SequenceView& sequence, int64_t position) {
  int32_t begin = 0;
  int32_t end = sequence.keys();
  while (begin < end) {
    const int32_t middle = begin + (end - begin) / 2;
    if (sequence.KeyPosition(middle) < position) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

class StreamingSelector : public Selector {
 public:
  StreamingSelector(int64_t sink_tokens, int64_t recent_tokens)
      : sink_tokens_(sink_tokens), recent_tokens_(recent_tokens) {}

  TileIndexShape Shape(const AttentionArguments& maxima) const override {
    return PerHeadShape(maxima, kBlock, kBlock);
  }

  size_t WorkspaceBytes(const AttentionArguments&, const ExecutionContext&) const override {
    return 0;
  }

  void Select(const AttentionArguments& arguments, const TileIndexBuffer& index, void*,
              const ExecutionContext& context) const override {
    CheckCall("streaming", arguments, Shape(arguments), index, context);
    ClearIndex(index);
    for (int32_t b = 0; b < arguments.batch; ++b) {
      const SequenceView sequence(arguments, b);
      for (int32_t first = 0; first < sequence.queries(); first += kBlock) {
        const int32_t last = std::min(first + kBlock, sequence.queries()) - 1;
        SelectRow(arguments, sequence, index, b, first, last);
      }
    }
  }

 private:
  /// Queries [first, last] of sequence `b`, for every head.
  void SelectRow(const AttentionArguments& arguments, const SequenceView& sequence,
                 const TileIndexBuffer& index, int32_t b, int32_t first, int32_t last) const {
    const int64_t begin = sequence.QueryPosition(first);
    const int64_t end = sequence.QueryPosition(last);
    const int64_t visible = LastVisiblePosition(arguments.mask, end);
    // A key at position k in [begin - recent + 1, end + recent - 1] that the last query sees is
    // within recent tokens of the query at k, or of the first or last one where k lies outside.
    const int32_t recent_begin = FirstKeyFrom(sequence, begin - recent_tokens_ + 1);
    const int32_t recent_end =
        FirstKeyFrom(sequence, std::min(visible, end + recent_tokens_ - 1) + 1);
    const int32_t sink_end = FirstKeyFrom(sequence, std::min(visible, sink_tokens_ - 1) + 1);
    for (int32_t head = 0; head < arguments.q_heads; ++head) {
      const int64_t row = index.shape.Row(b, head, first / kBlock);
      SetBlocks(index, row, 0, (sink_end + kBlock - 1) / kBlock);
      if (recent_begin < recent_end) {
        SetBlocks(index, row, recent_begin / kBlock, (recent_end + kBlock - 1) / kBlock);
      }
      CountBlocks(index, row);
    }
  }

  int64_t sink_tokens_;
  int64_t recent_tokens_;
};

}  // namespace

SelectorInfo StreamingInfo() {
  constexpr double kMostTokens = 1 << 30;
  return {
      .name = "streaming",
      .paper =
          "Efficient Streaming Language Models with Attention Sinks, ICLR 2024, arXiv "
          "2309.17453",
      .help = "Attends to the first tokens and to a window of recent ones, by tiles of 128.",
      .parameters =
          {
              {.name = "sink_tokens",
               .kind = ParameterInfo::Kind::kInteger,
               .minimum = 0,
               .maximum = kMostTokens,
               .default_value = 128,
               .help = "tokens at the start that every query sees"},
              {.name = "recent_tokens",
               .kind = ParameterInfo::Kind::kInteger,
               .minimum = 1,
               .maximum = kMostTokens,
               .default_value = 1024,
               .help = "latest tokens a query sees, itself included"},
          },
      .make = [](const ParameterValues& values) -> std::unique_ptr<Selector> {
        return std::make_unique<StreamingSelector>(
            static_cast<int64_t>(values.at("sink_tokens")[0]),
            static_cast<int64_t>(values.at("recent_tokens")[0]));
      },
  };
}

}  // namespace tamis
