// "key=value" settings applied to a policy document.
#ifndef TAMIS_POLICY_OVERRIDES_H_
#define TAMIS_POLICY_OVERRIDES_H_

#include <string_view>

#include "policy/json_text.h"

namespace tamis::policy {

/// Sets one key of a tamis policy document. The key is a dotted path from the document, list items
/// by index ("entries.0.prefill.n_of_m.n"); a path that starts with "prefill" or "decode" means
/// that phase of "default". Objects on the way are made where they are missing. The value is JSON,
/// or a plain word. Throws Error where the path does not lead anywhere; what was set is checked
/// when the document is read.
void ApplyOverride(Json& document, std::string_view setting);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_OVERRIDES_H_
