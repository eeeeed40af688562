// A comparison as people and programs read it.
#ifndef TAMIS_REPORT_COMPARE_REPORT_H_
#define TAMIS_REPORT_COMPARE_REPORT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "report/compare.h"
#include "report/terminal.h"

namespace tamis {

/// Dense's text and, beside it, every text that differs, the first difference marked.
std::string CompareTexts(const CompareResult& result, const Terminal& terminal);

/// Time and memory; what was computed; how far the outputs moved.
std::string CompareTables(const CompareResult& result, const Terminal& terminal);

/// The fields "prompt_tokens", "continuation_tokens" and "rows".
nlohmann::ordered_json CompareJson(const CompareResult& result);

/// Density, skipped and kept shares, retained mass and times of one phase. Used by every command
/// that runs a policy.
nlohmann::ordered_json PhaseJson(const PhaseStatistics& statistics, bool with_retained_mass);

/// Of the pairs that the mask allows, those that no index and no rule dropped.
double KeptShare(const AttentionCounts& counts);
/// Selection's share of a phase's attention time.
double SelectShare(const PhaseStatistics& statistics);

}  // namespace tamis

#endif  // TAMIS_REPORT_COMPARE_REPORT_H_
