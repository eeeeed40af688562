// Policies known by name.
#ifndef TAMIS_POLICY_PRESETS_H_
#define TAMIS_POLICY_PRESETS_H_

#include <string_view>

namespace tamis::policy {

/// The JSON text of a preset (a tamis policy or a ModelOpt configuration), or "" where there is
/// none of that name.
std::string_view PresetText(std::string_view name);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_PRESETS_H_
