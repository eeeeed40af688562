#include "attention/cpu/prefill_pipeline.h"

#include <algorithm>
#include <utility>

namespace tamis::cpu {

PackedSizes::PackedSizes(const Call& call) {
  const Kernels& kernels = call.kernels;
  const AttentionArguments& a = call.arguments;
  padded_dim_v = (a.dim_v() + kernels.panel - 1) / kernels.panel * kernels.panel;
  key_step_bytes = int64_t{kStepKeys} * a.head_dim * kernels.element_bytes;
  value_step_bytes = int64_t{kStepKeys} * padded_dim_v * kernels.element_bytes;
}

PipelineScratch::PipelineScratch(const Call& call, Carver& carver) {
  const int64_t rows = kMaxTileRows;
  const int64_t element = call.kernels.element_bytes;
  q = carver.Take<char>(rows * call.arguments.head_dim * element);
  const int buffers = call.kernels.scores_beside_softmax != nullptr ? 2 : 1;
  for (int i = 0; i < 2; ++i) {
    s[i] = i < buffers ? carver.Take<float>(rows * kStepKeys) : s[0];
    p[i] = element == 4  ? static_cast<void*>(s[i])
           : i < buffers ? carver.Take<char>(rows * kStepKeys * element)
                         : p[0];
  }
  o = carver.Take<float>(rows * PackedSizes(call).padded_dim_v);
  for (float*& a : alpha) a = carver.Take<float>(rows);
  bases = carver.Take<float>(rows);
  running_max = carver.Take<float>(rows);
  step_max = carver.Take<float>(rows);
  sums = carver.Take<float>(rows * kSumLanes);
  const int64_t weighs = call.kernels.weigh != nullptr ? rows : 0;
  old_sums = carver.Take<float>(weighs * kSumLanes);
  next_q = carver.Take<char>(weighs * call.arguments.head_dim * element);
}

PrefillPipeline::PrefillPipeline(const Call& call, const PackedSizes& sizes,
                                 PipelineScratch& scratch, int32_t row_blocks,
                                 const QueryRows& queries, const NextTileRow& next)
    : call_(call),
      sizes_(sizes),
      scratch_(scratch),
      row_blocks_(row_blocks),
      queries_(queries),
      queries_loaded_(scratch.has_q),
      next_queries_{.from = next.queries, .to = scratch.next_q},
      next_row_keys_(next.keys) {
  scratch.has_q = false;
  SetBuffers();
  if (call.kernels.begin_products != nullptr) call.kernels.begin_products();
}

PrefillPipeline::~PrefillPipeline() {
  if (call_.kernels.end_products != nullptr) call_.kernels.end_products();
}

/// Of the step at hand. Its scores replace those whose softmax is done, its weights those whose
/// values are; what values need beside weights lasts a turn longer.
void PrefillPipeline::SetBuffers() {
  Stage& stage = now();
  stage.s = scratch_.s[turn_ % 2];
  stage.p = scratch_.p[turn_ % 2];
  stage.alpha = scratch_.alpha[turn_ % 3];
}

SoftmaxArguments PrefillPipeline::Softmax(const Stage& stage, int32_t first_block,
                                          int32_t end_block) const {
  return {.s = stage.s,
          .s_stride = kStepKeys,
          .p = stage.p,
          .first_block = first_block,
          .row_blocks = end_block,
          .ranges = stage.ranges,
          .two_of_four = stage.two_of_four,
          .factor = call_.factor,
          .bases = scratch_.bases,
          .alpha = stage.alpha,
          .sums = scratch_.sums};
}

ValueArguments PrefillPipeline::Values(const Stage& stage, const OutputRows* output) {
  const ValueArguments values{.p = stage.p,
                              .v_step = stage.values,
                              .padded_dim = sizes_.padded_dim_v,
                              .row_blocks = row_blocks_,
                              .ranges = stage.ranges,
                              .seen = stage.seen,
                              .old = !has_values_        ? OldOutputs::kNone
                                     : stage.moves_bases ? OldOutputs::kScaled
                                                         : OldOutputs::kKept,
                              .alpha = stage.alpha,
                              .o = scratch_.o,
                              .output = output,
                              .ahead = next_keys_,
                              .ahead_bytes = sizes_.key_step_bytes};
  has_values_ = true;
  return values;
}

void PrefillPipeline::Score(const void* keys, const void* values, const void* next_keys,
                            bool wants_maxima, bool may_drop) {
  Stage& stage = now();
  stage.values = values;
  // What is left of the step before, whose values fetch the keys that follow it.
  if (!side_by_side()) FinishEarlier(0);
  next_keys_ = next_keys;
  const ScoreArguments scores{
      .q = scratch_.q,
      .load = queries_loaded_ ? nullptr : &queries_,
      .k_step = keys,
      .head_dim = call_.arguments.head_dim,
      .row_blocks = row_blocks_,
      .ranges = stage.ranges,
      .s = stage.s,
      .s_stride = kStepKeys,
      .maxima = wants_maxima ? scratch_.step_max : nullptr,
      .ahead = may_drop ? next_keys : values,
      .ahead_bytes = may_drop ? sizes_.key_step_bytes : sizes_.value_step_bytes};
  queries_loaded_ = true;
  if (scored_ == nullptr) {
    call_.kernels.scores(scores);
    if (side_by_side()) FinishEarlier(0);
  } else {
    const int32_t half = row_blocks_ / 2;
    call_.kernels.scores_beside_softmax(scores, Softmax(*scored_, 0, half));
    FinishEarlier(half);
  }
}

/// Softmax of the scored step from a block of rows on, values of the weighed one.
void PrefillPipeline::FinishEarlier(int32_t first_block) {
  if (scored_ != nullptr) {
    const SoftmaxArguments softmax = Softmax(*scored_, first_block, row_blocks_);
    if (weighed_ != nullptr) {
      call_.kernels.values_beside_softmax(Values(*weighed_, nullptr), softmax);
    } else {
      call_.kernels.softmax(softmax);
    }
  } else if (weighed_ != nullptr) {
    call_.kernels.values(Values(*weighed_, nullptr));
  }
  weighed_ = scored_;
  scored_ = nullptr;
}

void PrefillPipeline::Push() {
  Stage& stage = now();
  stage.moves_bases = call_.kernels.raise_maxima({.step_max = scratch_.step_max,
                                                  .rows = row_blocks_ * kRowBlock,
                                                  .factor = call_.factor,
                                                  .running_max = scratch_.running_max,
                                                  .bases = scratch_.bases,
                                                  .alpha = stage.alpha});
  if (side_by_side()) {
    scored_ = &stage;
  } else {
    call_.kernels.softmax(Softmax(stage, 0, row_blocks_));
    weighed_ = &stage;
  }
  ++turn_;
  SetBuffers();
}

bool PrefillPipeline::Weigh(const PackedStep& step, const void* next_keys, const WeighRule& rule) {
  Stage& stage = now();
  stage.values = step.values;
  stage.moves_bases = false;
  if (!queries_loaded_) {
    QueryLoad load{.from = queries_, .to = scratch_.q};
    LoadRest(load);
    queries_loaded_ = true;
  }
  FinishEarlier(0);
  next_keys_ = next_keys;
  if (!call_.kernels.weigh({.q = scratch_.q,
                            .k_step = step.keys,
                            .head_dim = call_.arguments.head_dim,
                            .row_blocks = row_blocks_,
                            .masks = rule.masks,
                            .ranges = stage.ranges,
                            .p = stage.p,
                            .two_of_four = rule.two_of_four,
                            .kept = rule.kept,
                            .factor = call_.factor,
                            .bases = scratch_.bases,
                            .maxima = rule.wants_maxima ? scratch_.step_max : nullptr,
                            .sums = scratch_.sums,
                            .old_sums = scratch_.old_sums,
                            .load = &next_queries_,
                            .ahead = step.values,
                            .ahead_bytes = sizes_.value_step_bytes})) {
    return false;
  }
  weighed_ = &stage;
  ++turn_;
  SetBuffers();
  return true;
}

void PrefillPipeline::Unweigh() {
  weighed_ = nullptr;
  std::copy_n(scratch_.old_sums, row_blocks_ * kRowBlock * kSumLanes, scratch_.sums);
}

void PrefillPipeline::DrainSoftmax() {
  next_keys_ = next_row_keys_;
  if (scored_ != nullptr) FinishEarlier(0);
}

void PrefillPipeline::Drain() {
  DrainSoftmax();
  if (weighed_ != nullptr) FinishEarlier(0);
}

void PrefillPipeline::FetchNextQueries() const {
  constexpr int64_t kLine = 64;
  const QueryRows& next = next_queries_.from;
  const int64_t bytes = next.dim * static_cast<int64_t>(SizeOf(next.dtype));
  for (int32_t row = 0; row < next.count; ++row) {
    const char* queries = static_cast<const char*>(next.rows) + row * next.stride;
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(queries + i, 0, 2);
  }
}

/// What `weigh` has left of a load.
void PrefillPipeline::LoadRest(QueryLoad& load) const {
  const QueryRows& from = load.from;
  const int64_t row_bytes = int64_t{from.dim} * call_.kernels.element_bytes;
  for (; load.loaded < from.count; ++load.loaded) {
    call_.kernels.load_queries(from.dtype,
                               static_cast<const char*>(from.rows) + load.loaded * from.stride,
                               static_cast<char*>(load.to) + load.loaded * row_bytes, from.dim);
  }
}

void PrefillPipeline::Finish(const OutputRows& output) {
  if (next_queries_.loaded > 0) {
    LoadRest(next_queries_);
    std::swap(scratch_.q, scratch_.next_q);
    scratch_.has_q = true;
  }
  if (weighed_ != nullptr) {
    call_.kernels.values(Values(*weighed_, &output));
  } else {
    call_.kernels.store_rows(scratch_.o, sizes_.padded_dim_v, output);
  }
}

}  // namespace tamis::cpu
