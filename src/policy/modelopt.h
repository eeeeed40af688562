// NVIDIA Model Optimizer's attention-sparsity configurations, read as policies.
#ifndef TAMIS_POLICY_MODELOPT_H_
#define TAMIS_POLICY_MODELOPT_H_

#include "policy/json_text.h"

namespace tamis::policy {

/// Whether a document is a ModelOpt configuration: it has a `sparse_cfg` key.
bool IsModelOpt(const Json& document);

/// The tamis policy that means the same as {"sparse_cfg": {...}}. As there, "default" is applied
/// first, then the patterns in the order written, the last match wins, each application starts
/// from the method's defaults again, and without "default" what no pattern matches runs
/// flash_skip_softmax. Throws Error for what ModelOpt itself refuses, for what needs calibration,
/// and for settings that would have no effect.
Json ImportModelOpt(const Json& document);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_MODELOPT_H_
