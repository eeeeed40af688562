// Sliding window with sinks.
#ifndef TAMIS_SELECT_STREAMING_H_
#define TAMIS_SELECT_STREAMING_H_

#include "tamis/selector.h"

namespace tamis {

/// "Efficient Streaming Language Models with Attention Sinks" (arXiv 2309.17453); the streaming
/// heads of DuoAttention (arXiv 2410.10819).
///
/// Visited is each 128 x 128 tile that holds a pair which causality allows and whose key lies at a
/// position < sink_tokens or within recent_tokens of the query (0 <= q - k < recent_tokens under a
/// causal mask; |q - k| < recent_tokens under the others). Tiles are visited whole, so a query
/// also sees the other keys of its tiles: a superset of the token-exact window, by less than one
/// block and less than the height of a row of tiles on each side. Windows, boolean masks and biases
/// of the call apply inside. Reads positions, never Q or K; pruned caches (key_positions) are
/// covered.
SelectorInfo StreamingInfo();

}  // namespace tamis

#endif  // TAMIS_SELECT_STREAMING_H_
