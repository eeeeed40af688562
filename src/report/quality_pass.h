// Next-token distributions of policies at the same positions of the same text.
#ifndef TAMIS_REPORT_QUALITY_PASS_H_
#define TAMIS_REPORT_QUALITY_PASS_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "report/divergence.h"
#include "tamis/model.h"
#include "tamis/policy.h"

namespace tamis {

struct QualityOptions {
  int32_t chunk = 1024;
  DType cache_dtype = DType::kF32;
  int32_t page_size = 0;
};

struct QualityRow {
  Divergence prompt;
  Divergence continuation;
};

/// Every policy reads a prompt in chunks (its prefill phase) and then, forced, a continuation token
/// by token (its decode phase). The first policy read is the reference.
class QualityPass {
 public:
  QualityPass(Model& model, const ExecutionContext& context, std::span<const int32_t> prompt,
              std::span<const int32_t> continuation, const QualityOptions& options);

  /// Runs the text under a policy, keeping the hidden state of every position. Returns what its
  /// attention did, retained mass included. `progress` gets the positions done.
  PolicyStatistics Read(const Policy& policy, const std::function<void(int32_t done)>& progress);

  /// Every policy's rows against the reference's, in the order read. Row t of the text is judged
  /// by its distribution over token t+1.
  std::vector<QualityRow> Compare(const std::function<void(int32_t done)>& progress);

 private:
  int32_t positions() const { return static_cast<int32_t>(prompt_.size() + continuation_.size()); }
  int32_t TokenAt(int32_t position) const;
  void Add(int32_t first_position, int32_t rows, const float* logits,
           std::span<const LogitRow> reference, std::span<const LogitRow> summary,
           std::span<const double> kl, QualityRow& out) const;

  Model& model_;
  const ExecutionContext& context_;
  const std::span<const int32_t> prompt_, continuation_;
  const QualityOptions options_;
  std::vector<std::vector<float>> hidden_;  ///< by policy: [positions][hidden]
};

}  // namespace tamis

#endif  // TAMIS_REPORT_QUALITY_PASS_H_
