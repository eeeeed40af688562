// XAttention's fp32 masses against the definition in fp64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "attention/sequence_view.h"
#include "base/aligned_buffer.h"
#include "select/selector_inputs.h"
#include "select/xattention.h"
#include "select/xattention_reference.h"

namespace tamis {

#if defined(__x86_64__)
extern const XAttentionKernel kXAttentionAvx512Bf16Emulated;
#endif

namespace {

using Row = std::tuple<int32_t, int32_t, int32_t>;  // sequence, query head, query block
using Masses = std::map<Row, std::vector<float>>;

Masses Estimate(const AttentionArguments& arguments, int32_t stride, const XAttentionKernel& kernel,
                int threads = 2) {
  const AlignedBuffer workspace(XAttentionWorkspaceBytes(arguments, stride, threads, kernel));
  std::memset(workspace.data(), 0xff, workspace.size());
  ThreadPool pool(threads);
  Masses masses;
  std::mutex mutex;
  EstimateXAttention(arguments, stride, workspace.data(), pool, kernel,
                     [&](int32_t b, int32_t head, int32_t block, std::span<const float> mass, int) {
                       const std::lock_guard<std::mutex> lock(mutex);
                       masses[{b, head, block}].assign(mass.begin(), mass.end());
                     });
  return masses;
}

/// Largest norm of any row of Q (keys false) or K.
double LargestNorm(const AttentionArguments& a, bool keys) {
  double largest = 0.0;
  std::vector<float> row(a.head_dim);
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    const ConstTensor& k = a.paged.page_size != 0 ? a.paged.k : a.k;
    for (int32_t r = 0; r < (keys ? sequence.keys() : sequence.queries()); ++r) {
      for (int32_t h = 0; h < (keys ? a.kv_heads : a.q_heads); ++h) {
        const DType dtype = keys ? a.kv_dtype : a.dtype;
        const int64_t offset =
            keys ? sequence.KeyOffset(k.stride, r, h) : sequence.QueryOffset(a.q.stride, r, h);
        const auto* data = static_cast<const unsigned char*>(keys ? k.data : a.q.data);
        ConvertToFloat(dtype, data + offset * int64_t(SizeOf(dtype)), row.data(), row.size());
        double square = 0.0;
        for (float x : row) square += double{x} * x;
        largest = std::max(largest, square);
      }
    }
  }
  return std::sqrt(largest);
}

/// How far an fp32 mass may lie from m. Inputs of every dtype are exact in fp32, and so are
/// products of bf16; a sum of n products is off by at most about 6 sqrt(n) u times the sum of their
/// magnitudes (Higham and Mary 2019, lambda = 6), u = 2^-24. Exponentials and the sums of at most
/// n more terms add relative errors of their own.
struct MassBound {
  MassBound(const AttentionArguments& a, int32_t stride) {
    const double u = 0x1p-24;
    const double logit = LargestNorm(a, false) * LargestNorm(a, true) / std::sqrt(a.head_dim);
    const double sums = 6.0 * std::sqrt(double(stride) * a.head_dim) * u * logit;
    const double exponent = 4.0 * u * logit;                // scale, base 2, subtraction
    relative = std::expm1(2.0 * (sums + exponent)) + 2e-6;  // numerator and denominator
  }
  // Exponentials below 2^-125 are zero, and masses sum up to 32 query groups.
  double operator()(double m) const { return relative * m + 1e-30; }
  double relative;
};

void ExpectNear(const AttentionArguments& arguments, int32_t stride, const Masses& masses,
                const std::map<Row, std::vector<double>>& reference) {
  const MassBound bound(arguments, stride);
  EXPECT_LT(bound.relative, 2e-3);  // or the comparison means nothing
  ASSERT_EQ(masses.size(), reference.size());
  for (const auto& [row, wanted] : reference) {
    const std::vector<float>& got = masses.at(row);
    ASSERT_LE(got.size(), wanted.size());
    for (size_t j = 0; j < wanted.size(); ++j) {
      const double value = j < got.size() ? double{got[j]} : 0.0;
      ASSERT_NEAR(value, wanted[j], bound(wanted[j]))
          << "sequence " << std::get<0>(row) << " head " << std::get<1>(row) << " query block "
          << std::get<2>(row) << " key block " << j;
    }
  }
}

std::map<Row, std::vector<double>> Reference(const AttentionArguments& arguments, int32_t stride) {
  std::map<Row, std::vector<double>> reference;
  for (int32_t b = 0; b < arguments.batch; ++b) {
    const SequenceView sequence(arguments, b);
    for (int32_t h = 0; h < arguments.q_heads; ++h) {
      for (int32_t t = 0; t * kXAttentionBlock < sequence.queries(); ++t) {
        reference[{b, h, t}] = XAttentionReferenceMass(arguments, stride, b, h, t);
      }
    }
  }
  return reference;
}

/// Every kernel that runs here, and what it is called.
std::vector<std::pair<std::string, const XAttentionKernel*>> Kernels(const AttentionArguments& a) {
  std::vector<std::pair<std::string, const XAttentionKernel*>> kernels;
  for (CpuIsa isa : AvailableCpuIsas()) {
    kernels.emplace_back(Name(isa), &XAttentionKernelFor(isa, a.dtype, a.kv_dtype));
  }
#if defined(__x86_64__)
  if (DetectCpuIsa() >= CpuIsa::kAvx512 && a.dtype == DType::kBF16 && a.kv_dtype == DType::kBF16) {
    kernels.emplace_back("avx512-bf16 emulated", &kXAttentionAvx512Bf16Emulated);
  }
#endif
  return kernels;
}

void CheckAll(const SelectorInputs& inputs, std::initializer_list<int32_t> strides) {
  for (int32_t stride : strides) {
    const auto reference = Reference(inputs.arguments, stride);
    for (const auto& [name, kernel] : Kernels(inputs.arguments)) {
      SCOPED_TRACE(testing::Message() << "stride " << stride << " on " << name);
      ExpectNear(inputs.arguments, stride, Estimate(inputs.arguments, stride, *kernel), reference);
    }
  }
}

const RowValues kQ = StructuredQueries(1);
const RowValues kK = StructuredKeys(2);

TEST(XAttentionEstimate, EveryStrideAndDtypeAtOddLengths) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    SCOPED_TRACE(Name(dtype));
    const SelectorInputs inputs(
        {.queries = {301}, .keys = {301}, .head_dim = 40, .dtype = dtype, .kv_dtype = dtype}, kQ,
        kK);
    CheckAll(inputs, {4, 8, 16, 32, 64});
  }
}

TEST(XAttentionEstimate, MixedDtypes) {
  CheckAll(SelectorInputs({.queries = {140},
                           .keys = {270},
                           .q_heads = 1,
                           .dtype = DType::kF32,
                           .kv_dtype = DType::kBF16},
                          kQ, kK),
           {8});
  CheckAll(SelectorInputs({.queries = {140},
                           .keys = {270},
                           .q_heads = 1,
                           .dtype = DType::kBF16,
                           .kv_dtype = DType::kF16},
                          kQ, kK),
           {16});
}

TEST(XAttentionEstimate, LaterChunkOfALongerSequence) {
  CheckAll(SelectorInputs({.queries = {130}, .keys = {517}, .q_heads = 3, .kv_heads = 1}, kQ, kK),
           {4, 8, 16, 64});
}

TEST(XAttentionEstimate, QueryStartsAwayFromTheEnd) {
  for (int32_t start : {0, 3, 100, 260, 700}) {
    SCOPED_TRACE(start);
    SelectorInputs inputs({.queries = {141}, .keys = {399}, .q_heads = 1}, kQ, kK);
    inputs.arguments.query_starts = &start;
    CheckAll(inputs, {8, 32});
  }
}

TEST(XAttentionEstimate, QueriesBeforeTheFirstKey) {
  CheckAll(SelectorInputs({.queries = {300}, .keys = {70}}, kQ, kK), {8, 16});
}

TEST(XAttentionEstimate, BidirectionalAndBlockCausal) {
  SelectorInputs inputs({.queries = {203}, .keys = {333}, .q_heads = 1}, kQ, kK);
  inputs.arguments.mask.causality = Causality::kBidirectional;
  CheckAll(inputs, {4, 16, 64});
  inputs.arguments.mask.causality = Causality::kBlockCausal;
  inputs.arguments.mask.causal_block = 48;
  CheckAll(inputs, {4, 16, 64});
}

TEST(XAttentionEstimate, HeadDimsGroupsAndScale) {
  for (int32_t head_dim : {8, 64, 128, 256}) {
    SCOPED_TRACE(head_dim);
    SelectorInputs inputs({.queries = {150},
                           .keys = {150},
                           .q_heads = 1,
                           .head_dim = head_dim,
                           .dtype = DType::kBF16,
                           .kv_dtype = DType::kBF16},
                          kQ, kK);
    inputs.arguments.softmax_scale = 0.05f;
    CheckAll(inputs, {16});
  }
  for (int32_t group : {3, 5, 7}) {
    SCOPED_TRACE(group);
    CheckAll(
        SelectorInputs(
            {.queries = {290}, .keys = {290}, .q_heads = 2 * group, .kv_heads = 2, .head_dim = 8},
            kQ, kK),
        {8, 64});
  }
}

TEST(XAttentionEstimate, LayoutsAndRaggedBatches) {
  for (Rows rows : {Rows::kUniform, Rows::kHeadMajor, Rows::kPaged}) {
    SCOPED_TRACE(static_cast<int>(rows));
    CheckAll(SelectorInputs({.queries = {180, 180, 180},
                             .keys = {333, 181, 20},
                             .q_heads = 4,
                             .kv_heads = 2,
                             .head_dim = 16,
                             .rows = rows},
                            kQ, kK),
             {8});
  }
  CheckAll(SelectorInputs({.queries = {1, 200, 0, 37, 5},
                           .keys = {1, 200, 100, 300, 0},
                           .q_heads = 4,
                           .kv_heads = 2,
                           .head_dim = 16,
                           .rows = Rows::kRagged},
                          kQ, kK),
           {8, 16});
}

TEST(XAttentionEstimate, RowsOfMassSumToTheirGroups) {
  const SelectorInputs inputs({.queries = {300}, .keys = {300}}, kQ, kK);
  for (const auto& [row, mass] : Estimate(
           inputs.arguments, 16, XAttentionKernelFor(DetectCpuIsa(), DType::kF32, DType::kF32))) {
    double total = 0.0;
    for (float m : mass) total += m;
    const int32_t queries = std::min(128, 300 - std::get<2>(row) * 128);
    EXPECT_NEAR(total, (queries + 15) / 16, 1e-5);
  }
}

/// Bit equality of masses: what a row gets must not depend on who computes it beside it.
TEST(XAttentionEstimate, SameBitsForAnyThreadsGroupingAndChunking) {
  const InputShape shape{.queries = {640}, .keys = {640}, .q_heads = 6, .kv_heads = 2};
  const SelectorInputs inputs(shape, kQ, kK);
  const XAttentionKernel& kernel = XAttentionKernelFor(DetectCpuIsa(), DType::kF32, DType::kF32);
  for (int32_t stride : {8, 16, 64}) {
    const Masses whole = Estimate(inputs.arguments, stride, kernel, 1);
    EXPECT_EQ(whole, Estimate(inputs.arguments, stride, kernel, 3));

    InputShape repeated = shape;
    repeated.kv_heads = 6;
    const SelectorInputs repeated_inputs(
        repeated, kQ,
        [](int32_t b, int32_t row, int32_t head, int32_t c) { return kK(b, row, head / 3, c); });
    EXPECT_EQ(whole, Estimate(repeated_inputs.arguments, stride, kernel));

    for (int32_t first : {128, 384}) {  // a chunk of two blocks
      InputShape chunk = shape;
      chunk.queries = {256};
      chunk.keys = {first + 256};
      const SelectorInputs chunk_inputs(
          chunk,
          [first](int32_t b, int32_t row, int32_t head, int32_t c) {
            return kQ(b, first + row, head, c);
          },
          kK);
      for (const auto& [row, mass] : Estimate(chunk_inputs.arguments, stride, kernel)) {
        const auto [b, head, block] = row;
        EXPECT_EQ(mass, whole.at({b, head, block + first / 128}));
      }
    }
  }
}

#if defined(__x86_64__)
TEST(XAttentionEstimate, EmulatedDotMatchesTheInstruction) {
  if (DetectCpuIsa() < CpuIsa::kAvx512Bf16) GTEST_SKIP() << "no vdpbf16ps here";
  const SelectorInputs inputs({.queries = {256},
                               .keys = {256},
                               .q_heads = 1,
                               .head_dim = 64,
                               .dtype = DType::kBF16,
                               .kv_dtype = DType::kBF16},
                              kQ, kK);
  EXPECT_EQ(Estimate(inputs.arguments, 8, kXAttentionAvx512Bf16),
            Estimate(inputs.arguments, 8, kXAttentionAvx512Bf16Emulated));
}
#endif

}  // namespace
}  // namespace tamis
