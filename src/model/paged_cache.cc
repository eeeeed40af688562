// A KV cache in pages: [pages][kv_heads][page_size][head_dim] a layer behind a page table.
#include <cstring>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/kv_cache.h"

namespace tamis {
namespace {

class PagedCache final : public DecoderCache {
 public:
  PagedCache(const CacheGeometry& geometry, const KvCacheOptions& options)
      : DecoderCache(geometry, options), page_size_(options.page_size), stores_(geometry.layers) {}

  size_t bytes() const override {
    size_t bytes = 0;
    for (const Store& store : stores_) bytes += store.k.size() + store.v.size();
    return bytes;
  }

 protected:
  int32_t room(int32_t layer) const override {
    return static_cast<int32_t>(stores_[layer].table.size()) * page_size_;
  }

  void Resize(int32_t layer, int32_t used, int32_t rows) override {
    const int32_t pages = Pages(rows);
    Store next;
    next.k.Reserve(pages * page_bytes());
    next.v.Reserve(pages * page_bytes());
    next.table.resize(pages);
    // Nothing may rely on pages lying in order, so they are handed out from the end.
    for (int32_t i = 0; i < pages; ++i) next.table[i] = pages - 1 - i;
    for (int32_t i = 0; i < Pages(used); ++i) {
      const size_t from = stores_[layer].table[i] * page_bytes();
      const size_t to = next.table[i] * page_bytes();
      std::memcpy(next.k.as<uint8_t>() + to, stores_[layer].k.as<uint8_t>() + from, page_bytes());
      std::memcpy(next.v.as<uint8_t>() + to, stores_[layer].v.as<uint8_t>() + from, page_bytes());
    }
    stores_[layer] = std::move(next);
  }

  Slot At(int32_t layer, int32_t head, int32_t row) const override {
    const Store& store = stores_[layer];
    const size_t at =
        store.table[row / page_size_] * page_bytes() +
        (size_t{static_cast<uint32_t>(head)} * page_size_ + row % page_size_) * vector_bytes();
    return {store.k.as<uint8_t>() + at, store.v.as<uint8_t>() + at};
  }

  void DescribeStorage(int32_t layer, AttentionArguments& arguments) const override {
    const Store& store = stores_[layer];
    const int64_t head_stride = int64_t{page_size_} * geometry().head_dim;
    const Strides strides = {.batch = geometry().kv_heads * head_stride,
                             .row = geometry().head_dim,
                             .head = head_stride};
    arguments.paged = {.page_size = page_size_,
                       .page_count = static_cast<int32_t>(store.table.size()),
                       .page_table = store.table.data(),
                       .table_stride = static_cast<int64_t>(store.table.size()),
                       .k = {store.k.data(), strides},
                       .v = {store.v.data(), strides}};
  }

 private:
  struct Store {
    AlignedBuffer k, v;
    std::vector<int32_t> table;
  };

  int32_t Pages(int32_t rows) const {
    return static_cast<int32_t>((int64_t{rows} + page_size_ - 1) / page_size_);
  }
  size_t page_bytes() const {
    return size_t{static_cast<uint32_t>(page_size_)} * geometry().kv_heads * vector_bytes();
  }

  int32_t page_size_;
  std::vector<Store> stores_;
};

}  // namespace

std::unique_ptr<DecoderCache> NewPagedCache(const CacheGeometry& geometry,
                                            const KvCacheOptions& options) {
  return std::make_unique<PagedCache>(geometry, options);
}

}  // namespace tamis
