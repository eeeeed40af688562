#include "model/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/check.h"

namespace tamis {
namespace {

constexpr int32_t kMaxTokens = 1 << 27;
constexpr int32_t kMaxPageSize = 1 << 16;
/// Rows of a layer's first storage; later ones are a quarter larger than what they replace, so that
/// copying stays a small constant per row.
constexpr int32_t kFirstRows = 256;

}  // namespace

DecoderCache::DecoderCache(const CacheGeometry& geometry, const KvCacheOptions& options)
    : geometry_(geometry),
      capacity_(options.capacity),
      dtype_(options.dtype),
      layers_(geometry.layers) {}

void DecoderCache::Reserve(int32_t tokens) {
  Require(tokens >= 0 && tokens <= capacity_ - positions_,
          "{} tokens do not fit a context of {} that holds {}; shorten the prompt or make the "
          "context longer",
          tokens, capacity_, positions_);
  for (int32_t layer = 0; layer < geometry_.layers; ++layer) {
    const int32_t used = layers_[layer].rows;
    const int32_t needed = layers_[layer].settled + tokens;
    if (needed <= room(layer)) continue;
    const int32_t ahead = std::max(kFirstRows, used + used / 4);
    Resize(layer, used, std::max(needed, std::min(ahead, capacity_)));
  }
}

void DecoderCache::Append(int32_t layer, int32_t tokens, const void* k, const void* v) {
  Layer& state = layers_[layer];
  Require(tokens >= 0 && tokens <= room(layer) - state.rows,
          "{} rows appended to layer {} of a KV cache with room for {}; Reserve them first", tokens,
          layer, room(layer) - state.rows);
  const size_t bytes = vector_bytes();
  const auto* keys = static_cast<const uint8_t*>(k);
  const auto* values = static_cast<const uint8_t*>(v);
  for (int32_t head = 0; head < geometry_.kv_heads; ++head) {
    for (int32_t i = 0; i < tokens; ++i) {
      const Slot slot = At(layer, head, state.rows + i);
      const size_t from = (size_t{static_cast<uint32_t>(i)} * geometry_.kv_heads + head) * bytes;
      std::memcpy(slot.k, keys + from, bytes);
      std::memcpy(slot.v, values + from, bytes);
    }
  }
  if (!state.key_positions.empty()) {
    const int32_t first = positions_ + state.rows - state.settled;
    for (int32_t i = 0; i < tokens; ++i) state.key_positions.push_back(first + i);
  }
  state.rows += tokens;
}

void DecoderCache::Advance(int32_t tokens) {
  for (int32_t layer = 0; layer < geometry_.layers; ++layer) {
    const int32_t appended = layers_[layer].rows - layers_[layer].settled;
    Require(appended == tokens, "a KV cache advanced by {} tokens holds {} new rows in layer {}",
            tokens, appended, layer);
  }
  for (Layer& layer : layers_) layer.settled = layer.rows;
  positions_ += tokens;
}

void DecoderCache::Discard() {
  for (Layer& layer : layers_) {
    layer.rows = layer.settled;
    if (!layer.key_positions.empty()) layer.key_positions.resize(layer.rows);
  }
}

void DecoderCache::Truncate(int32_t positions) {
  Require(positions >= 0 && positions <= positions_,
          "a KV cache of {} tokens cannot be truncated to {}", positions_, positions);
  Discard();
  if (positions == positions_) return;
  Require(!dropped_, "a KV cache that has dropped keys cannot be truncated; start a new one");
  for (Layer& layer : layers_) layer.rows = layer.settled = positions;
  positions_ = positions;
}

void DecoderCache::Describe(int32_t layer, AttentionArguments& arguments) const {
  const Layer& state = layers_[layer];
  arguments.kv_heads = geometry_.kv_heads;
  arguments.kv_dtype = dtype_;
  arguments.key_tokens = state.rows;
  arguments.key_offsets = nullptr;
  arguments.key_lengths = nullptr;
  arguments.query_starts = &positions_;
  arguments.key_positions = state.key_positions.empty() ? nullptr : state.key_positions.data();
  arguments.k = {};
  arguments.v = {};
  arguments.paged = {};
  DescribeStorage(layer, arguments);
}

void DecoderCache::Retain(int32_t layer, const KeepSet& keep) {
  Layer& state = layers_[layer];
  Require(keep.key_tokens() == state.rows && keep.kv_heads() == geometry_.kv_heads,
          "a keep set for {} keys of {} KV heads does not fit layer {}, which holds {} of {}",
          keep.key_tokens(), keep.kv_heads(), layer, state.rows, geometry_.kv_heads);
  Require(state.rows == state.settled, "layer {} cannot drop keys in the middle of a pass", layer);
  const std::span<const int32_t> kept = keep.kept(0);
  for (int32_t head = 1; head < geometry_.kv_heads; ++head) {
    // Positions belong to rows, which all heads of a layer share.
    Require(std::ranges::equal(keep.kept(head), kept),
            "KV head {} keeps other keys than head 0; the heads of a layer must keep the same",
            head);
  }
  const auto count = static_cast<int32_t>(kept.size());
  if (count == state.rows) return;
  if (state.key_positions.empty()) {
    state.key_positions.resize(state.rows);
    for (int32_t i = 0; i < state.rows; ++i) state.key_positions[i] = i;
  }
  for (int32_t i = 0; i < count; ++i) {
    if (kept[i] == i) continue;
    state.key_positions[i] = state.key_positions[kept[i]];
    for (int32_t head = 0; head < geometry_.kv_heads; ++head) {
      const Slot to = At(layer, head, i);
      const Slot from = At(layer, head, kept[i]);
      std::memcpy(to.k, from.k, vector_bytes());
      std::memcpy(to.v, from.v, vector_bytes());
    }
  }
  state.key_positions.resize(count);
  state.rows = state.settled = count;
  dropped_ = true;
  Resize(layer, count, count);
}

std::unique_ptr<KvCache> NewDecoderCache(const CacheGeometry& geometry,
                                         const KvCacheOptions& options) {
  Require(options.capacity >= 1 && options.capacity <= kMaxTokens,
          "a context of {} tokens; give 1 to {}", options.capacity, kMaxTokens);
  Require(options.page_size >= 0 && options.page_size <= kMaxPageSize,
          "a KV page of {} tokens; give 1 to {}, or 0 for a contiguous cache", options.page_size,
          kMaxPageSize);
  Require(options.dtype == DType::kF32 || options.dtype == DType::kBF16,
          "a KV cache in {}; use f32 or bf16", Name(options.dtype));
  if (options.page_size == 0) return NewContiguousCache(geometry, options);
  return NewPagedCache(geometry, options);
}

}  // namespace tamis
