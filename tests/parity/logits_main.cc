// Logits and greedy continuations of a model, as raw numbers for a parity script.
//
//   logits_parity logits MODEL f32|bf16 TOKENS OUT CHUNK PAGE_SIZE TAIL
//   logits_parity greedy MODEL f32|bf16 TOKENS OUT COUNT
//
// TOKENS holds int32 ids. `logits` writes f32 [tokens][vocab], reading the prompt in chunks of
// CHUNK and its last TAIL tokens one at a time; PAGE_SIZE 0 takes a contiguous cache. `greedy`
// writes COUNT int32 ids that follow the prompt.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"
#include "tamis/model.h"

namespace tamis {
namespace {

std::vector<int32_t> ReadTokens(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  Require(!bytes.empty() && bytes.size() % sizeof(int32_t) == 0, "{} holds no int32 tokens", path);
  std::vector<int32_t> tokens(bytes.size() / sizeof(int32_t));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(tokens.data()));
  return tokens;
}

class Runner {
 public:
  Runner(const std::string& path, const std::string& dtype)
      : model_(Model::Load(path, {.dtype = ParseDType(dtype), .pool = &pool_})),
        attention_(Policy::Dense(), model_->policy_target(), {.pool = &pool_}),
        dtype_(ParseDType(dtype)) {}

  std::unique_ptr<KvCache> Cache(size_t capacity, int32_t page_size) const {
    return model_->NewCache(
        {.capacity = static_cast<int32_t>(capacity), .dtype = dtype_, .page_size = page_size});
  }

  /// Logits of every token.
  std::vector<float> Read(KvCache& cache, std::span<const int32_t> tokens) {
    hidden_.resize(tokens.size() * static_cast<size_t>(model_->config().hidden));
    std::vector<float> logits(tokens.size() * static_cast<size_t>(model_->config().vocab));
    const SequenceStep step{tokens, &cache};
    model_->Forward({&step, 1}, attention_, hidden_.data());
    model_->Logits(hidden_.data(), static_cast<int32_t>(tokens.size()), logits.data());
    return logits;
  }

  int32_t vocab() const { return model_->config().vocab; }

 private:
  ThreadPool pool_;
  std::unique_ptr<Model> model_;
  PolicyAttention attention_;
  DType dtype_;
  std::vector<float> hidden_;
};

template <typename T>
void Append(std::ofstream& file, const std::vector<T>& values) {
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(T)));
}

void WriteLogits(Runner& runner, std::span<const int32_t> tokens, size_t chunk, int32_t page_size,
                 size_t tail, std::ofstream& out) {
  const auto cache = runner.Cache(tokens.size(), page_size);
  const size_t head = tokens.size() - std::min(tail, tokens.size());
  for (size_t at = 0; at < tokens.size();) {
    const size_t count = at < head ? std::min(chunk, head - at) : 1;
    Append(out, runner.Read(*cache, tokens.subspan(at, count)));
    at += count;
  }
}

void WriteGreedy(Runner& runner, std::span<const int32_t> tokens, size_t count,
                 std::ofstream& out) {
  const auto cache = runner.Cache(tokens.size() + count, 0);
  std::vector<float> logits = runner.Read(*cache, tokens);
  std::vector<int32_t> ids;
  while (true) {
    const auto last = logits.end() - runner.vocab();
    ids.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
    if (ids.size() == count) break;
    logits = runner.Read(*cache, {&ids.back(), 1});
  }
  Append(out, ids);
}

void Run(const std::vector<std::string>& arguments) {
  Require(arguments.size() == 6 || arguments.size() == 8, "{} arguments; see logits_main.cc",
          arguments.size());
  const std::vector<int32_t> tokens = ReadTokens(arguments[3]);
  std::ofstream out(arguments[4], std::ios::binary);
  Runner runner(arguments[1], arguments[2]);
  if (arguments[0] == "greedy") {
    WriteGreedy(runner, tokens, std::stoul(arguments[5]), out);
  } else {
    WriteLogits(runner, tokens, std::stoul(arguments[5]), std::stoi(arguments[6]),
                std::stoul(arguments[7]), out);
  }
  out.flush();
  Require(out.good(), "{} cannot be written", arguments[4]);
}

}  // namespace
}  // namespace tamis

int main(int argc, char** argv) {
  try {
    tamis::Run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "logits_parity: %s\n", error.what());
    return 2;
  }
  return 0;
}
