// A KV cache whose rows lie one after the other: [kv_heads][room][head_dim] a layer, so that a
// head's keys stream from memory without gaps.
#include <cstring>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/kv_cache.h"

namespace tamis {
namespace {

/// Rows are counted in these, which keeps every head on a cache line of its own.
constexpr int32_t kRowStep = 16;

class ContiguousCache final : public DecoderCache {
 public:
  ContiguousCache(const CacheGeometry& geometry, const KvCacheOptions& options)
      : DecoderCache(geometry, options), stores_(geometry.layers) {}

  size_t bytes() const override {
    size_t bytes = 0;
    for (const Store& store : stores_) bytes += store.k.size() + store.v.size();
    return bytes;
  }

 protected:
  int32_t room(int32_t layer) const override { return stores_[layer].room; }

  void Resize(int32_t layer, int32_t used, int32_t rows) override {
    Store next;
    next.room = (rows + kRowStep - 1) / kRowStep * kRowStep;
    const size_t head_bytes = next.room * vector_bytes();
    next.k.Reserve(geometry().kv_heads * head_bytes);
    next.v.Reserve(geometry().kv_heads * head_bytes);
    for (int32_t head = 0; head < geometry().kv_heads && used > 0; ++head) {
      const Slot from = At(layer, head, 0);
      std::memcpy(next.k.as<uint8_t>() + head * head_bytes, from.k, used * vector_bytes());
      std::memcpy(next.v.as<uint8_t>() + head * head_bytes, from.v, used * vector_bytes());
    }
    stores_[layer] = std::move(next);
  }

  Slot At(int32_t layer, int32_t head, int32_t row) const override {
    const Store& store = stores_[layer];
    const size_t at = (size_t{static_cast<uint32_t>(head)} * store.room + row) * vector_bytes();
    return {store.k.as<uint8_t>() + at, store.v.as<uint8_t>() + at};
  }

  void DescribeStorage(int32_t layer, AttentionArguments& arguments) const override {
    const Store& store = stores_[layer];
    const Strides strides = {
        .batch = 0, .row = geometry().head_dim, .head = int64_t{store.room} * geometry().head_dim};
    arguments.k = {store.k.data(), strides};
    arguments.v = {store.v.data(), strides};
  }

 private:
  struct Store {
    int32_t room = 0;
    AlignedBuffer k, v;
  };
  std::vector<Store> stores_;
};

}  // namespace

std::unique_ptr<DecoderCache> NewContiguousCache(const CacheGeometry& geometry,
                                                 const KvCacheOptions& options) {
  return std::make_unique<ContiguousCache>(geometry, options);
}

}  // namespace tamis
