// Selectors: published methods that decide which keys each block of queries visits.
#ifndef TAMIS_SELECTOR_H_
#define TAMIS_SELECTOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tamis/attention.h"
#include "tamis/tile_index.h"

namespace tamis {

/// One parameter of a selector, as policies, help texts and reports see it.
struct ParameterInfo {
  enum class Kind : uint8_t { kInteger, kReal, kBoolean, kChoice };
  std::string_view name;
  Kind kind = Kind::kReal;
  double minimum = 0.0;  ///< inclusive
  double maximum = 0.0;  ///< inclusive
  double default_value = 0.0;
  /// A policy may give one value per query head of the layer.
  bool per_head = false;
  /// kChoice: the values allowed.
  std::vector<double> choices;
  std::string_view help;
};

/// Parameter values by name: one, or one per query head of the call. Absent: the default.
using ParameterValues = std::map<std::string, std::vector<double>, std::less<>>;

/// Host memory an index is written to; arrays as in TileIndex, owned by the caller.
struct TileIndexBuffer {
  TileIndexShape shape;
  uint32_t* bitmap = nullptr;  ///< [rows()][row_words()]
  int32_t* counts = nullptr;   ///< [rows()]
};

/// A configured selector. Immutable, so safe to share between threads; Select itself uses the
/// context's pool and must not run twice at a time on one pool.
class Selector {
 public:
  virtual ~Selector() = default;

  /// Shape of the index for calls no larger than `maxima`.
  virtual TileIndexShape Shape(const AttentionArguments& maxima) const = 0;
  virtual size_t WorkspaceBytes(const AttentionArguments& maxima,
                                const ExecutionContext& context) const = 0;
  /// Writes every row of `index`. Reads Q, K (contiguous, ragged or paged), lengths, positions and
  /// the mask of `arguments`; never V or O. Throws Error for arguments the method does not cover.
  virtual void Select(const AttentionArguments& arguments, const TileIndexBuffer& index,
                      void* workspace, const ExecutionContext& context) const = 0;
};

/// A selector as the registry knows it.
struct SelectorInfo {
  std::string_view name;   ///< the word in a policy: "xattention"
  std::string_view paper;  ///< title, venue, arXiv number
  std::string_view help;   ///< one sentence
  std::vector<ParameterInfo> parameters;
  /// Values are already checked against `parameters`.
  std::unique_ptr<Selector> (*make)(const ParameterValues& values);
};

/// All selectors, by name.
std::span<const SelectorInfo> Selectors();
/// Throws Error that lists the known names.
const SelectorInfo& FindSelector(std::string_view name);
/// Checks values against the selector's parameters (unknown name, range, choice, count per head)
/// and makes it. Throws Error naming the parameter, the value and the valid range.
std::unique_ptr<Selector> MakeSelector(std::string_view name, const ParameterValues& values);

}  // namespace tamis

#endif  // TAMIS_SELECTOR_H_
