#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/check.h"
#include "model/tokenizer/utf8.h"

namespace tamis {
namespace {

constexpr size_t kMaxCachedPiece = 64;
constexpr size_t kMaxCacheEntries = size_t{1} << 16;

}  // namespace

uint64_t Bpe::MergeTable::Key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

size_t Bpe::MergeTable::Start(uint64_t key) const {
  // Fibonacci hashing: the product's high bits depend on every bit of the key.
  return ((key * 0x9E3779B97F4A7C15u) >> 32) & (slots_.size() - 1);
}

void Bpe::MergeTable::Set(int32_t left, int32_t right, Merge merge) {
  if (slots_.size() < 2 * (used_ + 1)) {
    std::vector<Slot> old(std::max<size_t>(64, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key == kEmpty) continue;
      size_t i = Start(slot.key);
      while (slots_[i].key != kEmpty) i = (i + 1) & (slots_.size() - 1);
      slots_[i] = slot;
    }
  }
  const uint64_t key = Key(left, right);
  size_t i = Start(key);
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  if (slots_[i].key == kEmpty) ++used_;
  slots_[i] = {key, merge};
}

const Bpe::Merge* Bpe::MergeTable::Find(int32_t left, int32_t right) const {
  if (slots_.empty()) return nullptr;
  const uint64_t key = Key(left, right);
  for (size_t i = Start(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return &slots_[i].merge;
    if (slots_[i].key == kEmpty) return nullptr;
  }
}

void Bpe::AddToken(std::string_view spelling, int32_t id) {
  const bool added = ids_.emplace(spelling, id).second;
  if (!added) Fail("the vocabulary lists token '{}' twice", Excerpt(spelling));
  std::optional<std::string> bytes = BytesOfSpelling(spelling);
  if (!bytes) return;
  if (bytes->size() == 1) byte_ids_[static_cast<uint8_t>((*bytes)[0])] = id;
  ids_of_bytes_.emplace(std::move(*bytes), id);
}

void Bpe::AddMerge(std::string_view left, std::string_view right) {
  const int32_t left_id = Find(left);
  const int32_t right_id = Find(right);
  const int32_t id = Find(std::string(left).append(right));
  if (left_id < 0 || right_id < 0 || id < 0) {
    Fail("merge {} ('{}' and '{}') names a token that is not in the vocabulary", merge_count_,
         Excerpt(left), Excerpt(right));
  }
  merges_.Set(left_id, right_id, {merge_count_, id});
  ++merge_count_;
}

void Bpe::AddMerge(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    Fail("merge {} ('{}') is not two tokens with a space between", merge_count_, Excerpt(line));
  }
  AddMerge(line.substr(0, space), line.substr(space + 1));
}

int32_t Bpe::Find(std::string_view spelling) const {
  const auto found = ids_.find(spelling);
  return found == ids_.end() ? -1 : found->second;
}

void Bpe::Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    const auto whole = ids_of_bytes_.find(piece);
    if (whole != ids_of_bytes_.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  const bool cacheable = piece.size() > 1 && piece.size() <= kMaxCachedPiece;
  if (cacheable) {
    const auto hit = scratch.cache_.find(piece);
    if (hit != scratch.cache_.end()) {
      const auto first = scratch.cached_ids_.begin() + hit->second.first;
      ids.insert(ids.end(), first, first + hit->second.second);
      return;
    }
  }

  std::vector<Scratch::Symbol>& symbols = scratch.symbols_;
  symbols.clear();
  bool after_unknown = false;
  for (const char byte : piece) {
    int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id >= 0) {
      after_unknown = false;
    } else {
      if (unknown_id_ < 0 || (after_unknown && fuse_unknown_)) continue;
      id = unknown_id_;
      after_unknown = true;
    }
    const auto index = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, index - 1, index + 1, false});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  MergeAll(scratch);

  const size_t first = ids.size();
  for (const Scratch::Symbol& symbol : symbols) {
    if (!symbol.merged_away) ids.push_back(symbol.id);
  }
  if (cacheable && scratch.cache_.size() < kMaxCacheEntries) {
    const auto offset = static_cast<uint32_t>(scratch.cached_ids_.size());
    const auto count = static_cast<uint32_t>(ids.size() - first);
    scratch.cached_ids_.insert(scratch.cached_ids_.end(), ids.begin() + first, ids.end());
    scratch.cache_.emplace(piece, std::pair(offset, count));
  }
}

void Bpe::MergeAll(Scratch& scratch) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols_;
  std::vector<uint64_t>& queue = scratch.queue_;
  queue.clear();
  const auto merge_at = [&](int32_t left) -> const Merge* {
    const int32_t right = symbols[left].next;
    return right < 0 ? nullptr : merges_.Find(symbols[left].id, symbols[right].id);
  };
  const auto entry = [](const Merge& merge, int32_t left) {
    return (uint64_t{merge.rank} << 32) | static_cast<uint32_t>(left);
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) {
    if (const Merge* merge = merge_at(i)) queue.push_back(entry(*merge, i));
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto push = [&](int32_t left) {
    if (const Merge* merge = merge_at(left)) {
      queue.push_back(entry(*merge, left));
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    }
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(queue.back() >> 32);
    const auto left = static_cast<int32_t>(queue.back() & 0xFFFFFFFFu);
    queue.pop_back();
    Scratch::Symbol& symbol = symbols[left];
    if (symbol.merged_away) continue;
    const Merge* merge = merge_at(left);
    if (merge == nullptr || merge->rank != rank) continue;  // a neighbour changed meanwhile
    Scratch::Symbol& right = symbols[symbol.next];
    right.merged_away = true;
    symbol.id = merge->id;
    symbol.next = right.next;
    if (symbol.next >= 0) symbols[symbol.next].previous = left;
    if (symbol.previous >= 0) push(symbol.previous);
    push(left);
  }
}

}  // namespace tamis
