// Calls captured into CUDA graphs and replayed on changed device contents.
#ifndef TAMIS_TESTS_GPU_GRAPH_CHECK_H_
#define TAMIS_TESTS_GPU_GRAPH_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tamis::gpu_testing {

struct GraphCheck {
  std::string name;
  std::string fault;  ///< empty: none
};

/// Those whose name `wanted` accepts.
std::vector<GraphCheck> CheckGraphs(uint64_t seed,
                                    const std::function<bool(const std::string&)>& wanted);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_GRAPH_CHECK_H_
