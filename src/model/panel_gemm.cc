#include "model/panel_gemm.h"

#include <dnnl.hpp>
#include <map>
#include <tuple>
#include <vector>

#include "base/aligned_buffer.h"

// Debian's oneDNN runs on GNU's OpenMP runtime, whichever compiler builds us and whether or not it
// has an omp.h.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int threads);
}

namespace tamis {

SingleThreadedOneDnn::SingleThreadedOneDnn() : before_(omp_get_max_threads()) {
  if (before_ != 1) omp_set_num_threads(1);
}

SingleThreadedOneDnn::~SingleThreadedOneDnn() {
  if (before_ != 1) omp_set_num_threads(before_);
}

struct PanelGemm::Product {
  dnnl::memory::desc a, panel, c, scratch;
  dnnl::matmul matmul;
};

struct PanelGemm::State {
  struct Worker {
    dnnl::stream stream;
    AlignedBuffer scratch;
  };

  DType dtype;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::vector<Worker> workers;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Product> products;
};

PanelGemm::PanelGemm(DType dtype, int workers) : state_(std::make_unique<State>()) {
  state_->dtype = dtype;
  for (int i = 0; i < workers; ++i) {
    state_->workers.push_back({dnnl::stream(state_->engine), AlignedBuffer()});
  }
}

PanelGemm::~PanelGemm() = default;

void PanelGemm::Prepare(int64_t rows, int64_t columns, int64_t features) {
  using dnnl::memory;
  State& state = *state_;
  const auto key = std::make_tuple(rows, columns, features);
  if (state.products.contains(key)) return;
  const SingleThreadedOneDnn guard;  // the number of threads is compiled in
  const bool bf16 = state.dtype == DType::kBF16;
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc a({rows, columns}, type, memory::format_tag::ab);
  const memory::desc panel({columns, features}, type,
                           bf16 ? memory::format_tag::BA16a64b2a : memory::format_tag::ab);
  const memory::desc c({rows, features}, memory::data_type::f32, memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // workers share the primitive
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, panel, c), attributes,
                                                 state.engine);
  Product product{a, panel, c, description.scratchpad_desc(), dnnl::matmul(description)};
  for (State::Worker& worker : state.workers) worker.scratch.Reserve(product.scratch.get_size());
  state.products.emplace(key, std::move(product));
}

const PanelGemm::Product& PanelGemm::Find(int64_t rows, int64_t columns, int64_t features) const {
  return state_->products.find(std::make_tuple(rows, columns, features))->second;
}

void PanelGemm::Run(const Product& product, const void* a, const void* panel, float* c,
                    int worker) const {
  using dnnl::memory;
  State::Worker& own = state_->workers[worker];
  // oneDNN takes inputs as mutable handles; it does not write through them.
  const auto view = [&](const memory::desc& desc, const void* data) {
    return memory(desc, state_->engine, const_cast<void*>(data));
  };
  const SingleThreadedOneDnn guard;
  product.matmul.execute(own.stream,
                         {{DNNL_ARG_SRC, view(product.a, a)},
                          {DNNL_ARG_WEIGHTS, view(product.panel, panel)},
                          {DNNL_ARG_DST, view(product.c, c)},
                          {DNNL_ARG_SCRATCHPAD, view(product.scratch, own.scratch.data())}});
}

size_t PanelGemm::scratch_bytes() const {
  size_t bytes = 0;
  for (const State::Worker& worker : state_->workers) bytes += worker.scratch.size();
  return bytes;
}

}  // namespace tamis
