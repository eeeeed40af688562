// KV caches: what contiguous and paged storage share.
#ifndef TAMIS_MODEL_KV_CACHE_H_
#define TAMIS_MODEL_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tamis/model.h"

namespace tamis {

/// Shape of a model's caches.
struct CacheGeometry {
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  bool operator==(const CacheGeometry&) const = default;
};

/// Counts rows and positions, checks every call, and leaves storage to its children. Memory grows
/// with the rows in use, not with the capacity.
class DecoderCache : public KvCache {
 public:
  DecoderCache(const CacheGeometry& geometry, const KvCacheOptions& options);

  const CacheGeometry& geometry() const { return geometry_; }
  int32_t rows(int32_t layer) const override { return layers_[layer].rows; }
  int32_t positions() const override { return positions_; }
  int32_t capacity() const override { return capacity_; }
  DType dtype() const override { return dtype_; }

  void Reserve(int32_t tokens) override;
  void Append(int32_t layer, int32_t tokens, const void* k, const void* v) override;
  void Advance(int32_t tokens) override;
  void Truncate(int32_t positions) override;
  void Describe(int32_t layer, AttentionArguments& arguments) const override;
  void Retain(int32_t layer, const KeepSet& keep) override;

  /// Forgets rows appended since the last Advance: after a forward pass that failed.
  void Discard();

 protected:
  /// Bytes of one head's key or value.
  size_t vector_bytes() const { return geometry_.head_dim * SizeOf(dtype_); }

  /// Rows a layer has room for.
  virtual int32_t room(int32_t layer) const = 0;
  /// Makes room for at least `rows` rows of a layer and little more, keeping the `used` first.
  virtual void Resize(int32_t layer, int32_t used, int32_t rows) = 0;
  /// Address of one head's key and value in a row.
  struct Slot {
    uint8_t* k;
    uint8_t* v;
  };
  virtual Slot At(int32_t layer, int32_t head, int32_t row) const = 0;
  virtual void DescribeStorage(int32_t layer, AttentionArguments& arguments) const = 0;

 private:
  struct Layer {
    int32_t rows = 0;
    int32_t settled = 0;  // rows at the last Advance; those after them belong to a running pass
    /// Position of each row once a KeepSet dropped some; empty before.
    std::vector<int32_t> key_positions;
  };

  CacheGeometry geometry_;
  int32_t capacity_;
  DType dtype_;
  int32_t positions_ = 0;
  std::vector<Layer> layers_;
  bool dropped_ = false;
};

/// A cache as `options` ask. Throws Error for options that make none.
std::unique_ptr<KvCache> NewDecoderCache(const CacheGeometry& geometry,
                                         const KvCacheOptions& options);
std::unique_ptr<DecoderCache> NewContiguousCache(const CacheGeometry& geometry,
                                                 const KvCacheOptions& options);
std::unique_ptr<DecoderCache> NewPagedCache(const CacheGeometry& geometry,
                                            const KvCacheOptions& options);

}  // namespace tamis

#endif  // TAMIS_MODEL_KV_CACHE_H_
