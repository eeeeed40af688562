// Ways to compute one attention call, timed against each other.
#ifndef TAMIS_CLI_CONTENDER_H_
#define TAMIS_CLI_CONTENDER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attention/tile_index_storage.h"
#include "report/compare.h"
#include "tamis/attention.h"

namespace tamis::cli {

/// One row of `tamis bench attention`.
struct Contender {
  std::string label;
  std::function<void()> call;
  std::function<void()> wait;  ///< until all calls are done; null: they are when they return
  AttentionCounts counts;
  double select_share = 0.0;
  std::string path;
  std::vector<double> seconds;  ///< of one call, by repeat
};

/// A policy on a model of one layer; counted once here, so that timed calls need not count. Throws
/// Error where the policy does not fit.
Contender PolicyContender(const NamedPolicy& policy, const AttentionArguments& arguments,
                          const ExecutionContext& context);

/// Random block lists that visit the share `density` of the pairs, as nearly as whole blocks can,
/// spread over the rows; the diagonal block always. The same lists for a shape everywhere.
struct RandomLists {
  RandomLists(double density, const AttentionArguments& arguments);
  std::string label;
  TileIndexStorage index;
  /// Of one call, all heads together.
  AttentionCounts counts;
};

/// Random lists on the CPU.
Contender BlockListContender(double density, const AttentionArguments& arguments,
                             const ExecutionContext& context);

/// Of a dense causal call without lengths or windows.
AttentionCounts DenseCounts(const AttentionArguments& arguments);

/// Times every contender `repeats` times, alternating the order; short calls are repeated within a
/// sample. `on_sample` is called after each.
void TimeContenders(std::vector<Contender>& contenders, int repeats,
                    const std::function<void()>& on_sample);

}  // namespace tamis::cli

#endif  // TAMIS_CLI_CONTENDER_H_
