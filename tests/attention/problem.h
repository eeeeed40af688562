// Random attention problems for tests of the executor and the selectors.
#ifndef TAMIS_TESTS_ATTENTION_PROBLEM_H_
#define TAMIS_TESTS_ATTENTION_PROBLEM_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "attention/reference.h"
#include "base/aligned_buffer.h"
#include "tamis/attention.h"

namespace tamis::attention_testing {

/// Random numbers that are the same on every platform.
class Rng {
 public:
  explicit Rng(uint64_t seed) : generator_(seed) {}
  uint64_t Next() { return generator_(); }
  double Uniform() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }  // [0, 1)
  int32_t Below(int32_t n) { return static_cast<int32_t>(generator_() % static_cast<uint64_t>(n)); }
  double Normal();  // Box-Muller

 private:
  std::mt19937_64 generator_;
};

enum class Layout {
  kTokensHeads,  ///< [B, N, H, D]
  kHeadsTokens,  ///< [B, H, N, D]
  kPadded,       ///< [B, N, H, D] with odd gaps after every row: nothing is aligned
};

enum class Values {
  kGaussian,    ///< standard normal
  kIntegers,    ///< small integers and a scale of 1/8: scores are exact in fp32, with many ties
  kStructured,  ///< sinks, a local band, stripes and needles over Gaussian noise
};

struct ProblemOptions {
  int32_t batch = 1;
  int32_t q_heads = 4;
  int32_t kv_heads = 2;
  int32_t head_dim = 64;
  int32_t value_head_dim = 0;
  int32_t query_tokens = 128;
  int32_t key_tokens = 128;
  DType dtype = DType::kF32;
  DType kv_dtype = DType::kF32;
  Layout layout = Layout::kTokensHeads;
  /// [batch] rows of each sequence, packed; query_tokens becomes the largest. Empty: uniform.
  std::vector<int32_t> query_lengths;
  /// [batch] keys of each sequence, packed where `packed_keys`; key_tokens becomes the largest.
  std::vector<int32_t> key_lengths;
  bool packed_keys = false;
  int32_t page_size = 0;  ///< > 0: K and V in shuffled pages
  /// [batch]. Empty: aligned bottom-right, by position where key_positions.
  std::vector<int32_t> query_starts;
  bool key_positions = false;     ///< positions with gaps, as of a cache that dropped keys
  AttentionMask mask;             ///< `keep` is made here
  double keep_probability = 1.0;  ///< < 1: a random boolean mask per head
  bool bias = false;              ///< random, one value in 16 is -inf
  bool sink_logits = false;
  float softmax_scale = 0.0f;
  float softcap = 0.0f;
  Phase phase = Phase::kPrefill;
  std::vector<Phase> phases;
  Values values = Values::kGaussian;
  uint64_t seed = 1;
};

/// The same call without o, lse, counts and executed: for ReferenceAttention on part of a problem.
AttentionArguments WithoutOutputs(AttentionArguments arguments);

/// One problem with all its memory. The same seed gives the same values in every layout. Keys past
/// a sequence's end, unused pages, and gaps between rows hold NaN; unused page table entries hold
/// -1; outputs are poisoned.
class Problem {
 public:
  explicit Problem(const ProblemOptions& options);

  /// Asks for O, LSE, counts and the executed mask. Clear pointers to ask for less.
  AttentionArguments arguments;

  /// NaN to o and lse, -1 to counts, ones to executed.
  void PoisonOutputs();
  /// Computes in fp64 without touching the outputs.
  ReferenceResult Reference(const TileIndex* index, const TileRule& rule) const;

  double Output(int32_t b, int32_t head, int32_t query, int32_t d) const;
  float Lse(int32_t b, int32_t head, int32_t query) const;
  const std::vector<AttentionCounts>& counts() const { return counts_; }
  const std::vector<uint32_t>& executed() const { return executed_; }
  /// Every array behind `arguments`, for tests that copy them elsewhere.
  struct Array {
    void* data;
    size_t bytes;
    bool written;
  };
  std::vector<Array> Arrays();
  /// True where everything between the rows of o and lse is still poison.
  bool GapsUntouched() const;

 private:
  /// Memory of one [batch, rows, heads, dim] tensor.
  struct Tensor {
    AlignedBuffer buffer;
    Strides stride;
    DType dtype = DType::kF32;
    int64_t elements = 0;
    void Poison();
    void Set(int64_t offset, const std::vector<double>& row);
    double Get(int64_t offset) const;
  };
  static Tensor MakeTensor(Layout layout, DType dtype, int64_t batch, int64_t rows, int64_t heads,
                           int64_t dim);
  void MakeLengths(const ProblemOptions& options);
  void MakePositions(const ProblemOptions& options, Rng& rng);
  void MakePages(const ProblemOptions& options, Rng& rng);
  void MakeTensors(const ProblemOptions& options);
  void MakeMask(const ProblemOptions& options, Rng& rng);
  void FillSequence(const ProblemOptions& options, int32_t b, int32_t kv_head, Rng& rng);

  Tensor q_, k_, v_, o_, lse_;
  std::vector<AttentionCounts> counts_;
  std::vector<uint32_t> executed_;
  std::vector<int32_t> query_offsets_, key_offsets_, key_lengths_, query_starts_, key_positions_;
  std::vector<int32_t> page_table_;
  std::vector<uint8_t> keep_;
  std::vector<float> bias_, sink_logits_;
  std::vector<Phase> phases_;
};

}  // namespace tamis::attention_testing

#endif  // TAMIS_TESTS_ATTENTION_PROBLEM_H_
