#include "policy/presets.h"

#include "tamis/policy.h"

namespace tamis {
namespace {

constexpr PresetInfo kPresets[] = {
    {"dense", "every query attends to every key the mask allows"},
    {"skip-softmax", "drop 128x128 tiles whose best score is far below the running maximum"},
    {"n-of-m-2-4", "prefill keeps the best 2 of every 4 keys, and the last 64 tokens"},
    {"xattention", "prefill visits the blocks that hold 90 % of the antidiagonal mass, stride 16"},
    {"streaming", "every query sees the first 128 tokens and the last 1024, by tiles of 128"},
    {"SKIP_SOFTMAX_DEFAULT", "ModelOpt: skip-softmax, lambda 1e-3 in prefill, 1e-4 in decode"},
    {"SKIP_SOFTMAX_TRITON_DEFAULT", "ModelOpt: skip-softmax, lambda 0.1 in both phases"},
    {"SPARSE_SOFTMAX_DEFAULT", "ModelOpt: 2:4 in prefill, the last 64 tokens dense"},
    {"SPARSE24_TRITON", "ModelOpt before 0.44: 2:4 in prefill, diagonal tiles dense"},
    {"SKIP_SOFTMAX_CALIB", "ModelOpt: needs `tamis calibrate` (planned)"},
    {"SKIP_SOFTMAX_TRITON_CALIB", "ModelOpt: needs `tamis calibrate` (planned)"},
    {"SKIP_SOFTMAX_CALIB_SPARSE24", "ModelOpt: needs `tamis calibrate` (planned)"},
    {"VSA_DEFAULT", "ModelOpt: video sparse attention, not run yet"},
};

// In the order of kPresets.
constexpr std::string_view kTexts[] = {
    R"({})",

    R"({"default": {
         "prefill": {"skip_softmax": {"threshold": 0.01}},
         "decode": {"skip_softmax": {"threshold": 0.001}}}})",

    R"({"default": {"prefill": {"n_of_m": {"n": 2, "m": 4, "recent_tokens": 64}}}})",

    R"({"default": {
         "prefill": {"selector": {"type": "xattention", "stride": 16, "threshold": 0.9}}}})",

    R"({"default": {
         "prefill": {"selector": {"type": "streaming", "sink_tokens": 128, "recent_tokens": 1024}},
         "decode": {"selector": {"type": "streaming", "sink_tokens": 128,
                                 "recent_tokens": 1024}}}})",

    R"({"sparse_cfg": {
         "*attn*": {"method": "flash_skip_softmax",
                    "thresholds": {"prefill": [0.001], "decode": [0.0001]},
                    "br": 128, "bc": 128, "backend": "pytorch", "collect_stats": true,
                    "enable": true},
         "default": {"enable": false}}})",

    R"({"sparse_cfg": {
         "*attn*": {"method": "triton_skip_softmax", "skip_softmax_threshold": 0.1,
                    "backend": "triton", "enable": true},
         "default": {"enable": false}}})",

    R"({"sparse_cfg": {
         "*attn*": {"method": "triton_sparse_softmax", "sparsity_n": 2, "sparsity_m": 4,
                    "dense_sink_tokens": 0, "dense_recent_tokens": 64, "backend": "triton",
                    "enable": true},
         "default": {"enable": false}}})",

    R"({"sparse_cfg": {
         "*attn*": {"method": "sparse24_triton", "skip_diagonal_blocks": true,
                    "backend": "triton", "enable": true},
         "default": {"enable": false}}})",

    R"({"sparse_cfg": {
         "calibration": {"target_sparse_ratio": {"prefill": 0.5, "decode": 0.5}, "samples": 64,
                         "max_seqlen": 16384, "chunk_size": 4096}}})",

    R"({"sparse_cfg": {
         "calibration": {"target_sparse_ratio": {"prefill": 0.5, "decode": 0.5}, "samples": 64,
                         "max_seqlen": 16384, "chunk_size": -1}}})",

    R"({"sparse_cfg": {
         "calibration": {"target_sparse_ratio": {"prefill": 0.5, "decode": 0.5}, "samples": 64,
                         "max_seqlen": 16384, "chunk_size": 4096}}})",

    R"({"sparse_cfg": {"*attn*": {"method": "vsa"}}})",
};
static_assert(std::size(kPresets) == std::size(kTexts));

}  // namespace

std::span<const PresetInfo> PolicyPresets() { return kPresets; }

namespace policy {

std::string_view PresetText(std::string_view name) {
  for (size_t i = 0; i < std::size(kPresets); ++i) {
    if (kPresets[i].name == name) return kTexts[i];
  }
  return "";
}

}  // namespace policy
}  // namespace tamis
