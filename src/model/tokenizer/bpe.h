// Byte pair encoding: a vocabulary and ranked merges.
#ifndef TAMIS_MODEL_TOKENIZER_BPE_H_
#define TAMIS_MODEL_TOKENIZER_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tamis {

/// Merges the bytes of a piece into tokens ("Neural Machine Translation of Rare Words with Subword
/// Units", arXiv 1508.07909, algorithm 1, over bytes): always the adjacent pair of the lowest rank,
/// the leftmost first. Build it, then share it: Encode may be called from several threads.
class Bpe {
 public:
  /// Working memory of Encode for one thread.
  class Scratch;

  /// Adds a token by its spelling in the byte alphabet. Throws Error where the spelling is known.
  void AddToken(std::string_view spelling, int32_t id);
  /// Adds the next merge. Throws Error where a part or the whole is not in the vocabulary.
  void AddMerge(std::string_view left, std::string_view right);
  /// The same, written "left right".
  void AddMerge(std::string_view line);
  /// A piece that is one token becomes that token, whatever the merges say.
  void set_ignore_merges(bool ignore) { ignore_merges_ = ignore; }
  /// What bytes that the vocabulary lacks become; without it they are dropped, as in the reference.
  /// `fuse`: one for a run of them.
  void set_unknown(int32_t id, bool fuse) {
    unknown_id_ = id;
    fuse_unknown_ = fuse;
  }

  /// The id of a spelling; -1: none.
  int32_t Find(std::string_view spelling) const;
  /// Appends the tokens of one piece: O(n log n) in its bytes.
  void Encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& ids) const;

  size_t tokens() const { return ids_.size(); }
  size_t merges() const { return merge_count_; }

 private:
  struct TransparentHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  template <typename Value>
  using StringMap = std::unordered_map<std::string, Value, TransparentHash, std::equal_to<>>;

  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  /// From pairs of ids to merges: open addressing, because almost all of encoding is lookups here.
  class MergeTable {
   public:
    void Set(int32_t left, int32_t right, Merge merge);
    const Merge* Find(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t key = kEmpty;
      Merge merge{};
    };
    static constexpr uint64_t kEmpty = ~uint64_t{0};
    static uint64_t Key(int32_t left, int32_t right);
    size_t Start(uint64_t key) const;

    std::vector<Slot> slots_;  // a power of two, at most half full
    size_t used_ = 0;
  };

  void MergeAll(Scratch& scratch) const;

  StringMap<int32_t> ids_;           // by spelling
  StringMap<int32_t> ids_of_bytes_;  // by what a spelling in the byte alphabet stands for
  std::array<int32_t, 256> byte_ids_ = [] {
    std::array<int32_t, 256> ids;
    ids.fill(-1);
    return ids;
  }();
  MergeTable merges_;
  uint32_t merge_count_ = 0;
  bool ignore_merges_ = false;
  int32_t unknown_id_ = -1;
  bool fuse_unknown_ = false;
};

class Bpe::Scratch {
 private:
  friend class Bpe;
  struct Symbol {
    int32_t id;
    int32_t previous;  // index of the neighbour; -1: none
    int32_t next;
    bool merged_away;
  };
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> queue_;  // min-heap of rank << 32 | index of the left symbol
  /// Pieces met before in this text: (offset, count) in cached_ids_.
  StringMap<std::pair<uint32_t, uint32_t>> cache_;
  std::vector<int32_t> cached_ids_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_TOKENIZER_BPE_H_
