#include "tamis/block_mask.h"

#include <algorithm>
#include <vector>

#include "attention/sequence_view.h"
#include "base/check.h"
#include "select/selector_call.h"

namespace tamis {
namespace {

int32_t CeilDiv(int32_t value, int32_t divisor) { return (value + divisor - 1) / divisor; }

class BlockMaskSelector : public Selector {
 public:
  explicit BlockMaskSelector(const BlockMask& mask)
      : mask_(mask), keep_(mask.keep.begin(), mask.keep.end()) {
    mask_.keep = {};
  }

  TileIndexShape Shape(const AttentionArguments& maxima) const override {
    return PerHeadShape(maxima, mask_.query_block, mask_.key_block);
  }

  size_t WorkspaceBytes(const AttentionArguments&, const ExecutionContext&) const override {
    return 0;
  }

  void Select(const AttentionArguments& arguments, const TileIndexBuffer& index, void*,
              const ExecutionContext& context) const override {
    const TileIndexShape shape = Shape(arguments);
    Require((mask_.batch == 1 || mask_.batch == shape.batch) &&
                (mask_.q_heads == 1 || mask_.q_heads == shape.q_heads) &&
                mask_.query_blocks == shape.query_blocks() &&
                mask_.key_blocks == shape.key_blocks(),
            "the block mask is [{}, {}, {}, {}]; the call has [{} sequences, {} heads, {} query "
            "blocks of {}, {} key blocks of {}]: give a mask of that shape (1 broadcasts over "
            "sequences and heads)",
            mask_.batch, mask_.q_heads, mask_.query_blocks, mask_.key_blocks, shape.batch,
            shape.q_heads, shape.query_blocks(), shape.query_block, shape.key_blocks(),
            shape.key_block);
    CheckCall("a block mask", arguments, shape, index, context);
    ClearIndex(index);
    for (int32_t b = 0; b < arguments.batch; ++b) {
      const SequenceView sequence(arguments, b);
      const int32_t query_blocks = CeilDiv(sequence.queries(), mask_.query_block);
      const int32_t key_blocks = CeilDiv(sequence.keys(), mask_.key_block);
      for (int32_t head = 0; head < arguments.q_heads; ++head) {
        for (int32_t t = 0; t < query_blocks; ++t) {
          const uint8_t* keep = Row(b, head, t);
          const int64_t row = index.shape.Row(b, head, t);
          for (int32_t j = 0; j < key_blocks; ++j) {
            if (keep[j] != 0) SetBlocks(index, row, j, j + 1);
          }
          CountBlocks(index, row);
        }
      }
    }
  }

 private:
  const uint8_t* Row(int32_t b, int32_t head, int32_t query_block) const {
    const int64_t sequence = mask_.batch == 1 ? 0 : b;
    const int64_t mask_head = mask_.q_heads == 1 ? 0 : head;
    return keep_.data() +
           ((sequence * mask_.q_heads + mask_head) * mask_.query_blocks + query_block) *
               mask_.key_blocks;
  }

  BlockMask mask_;
  std::vector<uint8_t> keep_;
};

}  // namespace

std::unique_ptr<Selector> MakeBlockMaskSelector(const BlockMask& mask) {
  for (int32_t block : {mask.query_block, mask.key_block}) {
    Require(block == 64 || block == 128, "a block mask has blocks of {} tokens; use 64 or 128",
            block);
  }
  Require(mask.batch >= 1 && mask.q_heads >= 1 && mask.query_blocks >= 0 && mask.key_blocks >= 0,
          "a block mask is [{}, {}, {}, {}]; sequences and heads start at 1, blocks at 0",
          mask.batch, mask.q_heads, mask.query_blocks, mask.key_blocks);
  // Divides instead of multiplying, so that no product of four sizes can overflow.
  const uint64_t rows = uint64_t(mask.batch) * uint64_t(mask.q_heads);
  const uint64_t tiles = uint64_t(mask.query_blocks) * uint64_t(mask.key_blocks);
  Require(tiles == 0 ? mask.keep.empty()
                     : mask.keep.size() % tiles == 0 && mask.keep.size() / tiles == rows,
          "a block mask of shape [{}, {}, {}, {}] has {} entries; give one per tile", mask.batch,
          mask.q_heads, mask.query_blocks, mask.key_blocks, mask.keep.size());
  return std::make_unique<BlockMaskSelector>(mask);
}

}  // namespace tamis
