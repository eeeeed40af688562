// Attends through an installed tamis: one head, three keys, 2:4-thinned.
#include <tamis/attention.h>
#include <tamis/error.h>
#include <tamis/model.h>
#include <tamis/policy.h>

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  tamis::ThreadPool pool(2);
  const int32_t tokens = 256, dim = 64;
  std::vector<float> q(tokens * dim, 0.5f), k(tokens * dim, 0.25f), v(tokens * dim, 3.0f);
  std::vector<float> o(tokens * dim);

  tamis::AttentionArguments arguments;
  arguments.q_heads = arguments.kv_heads = 1;
  arguments.head_dim = dim;
  arguments.query_tokens = arguments.key_tokens = tokens;
  const tamis::Strides strides{tokens * dim, dim, dim};
  arguments.q = {q.data(), strides};
  arguments.k = {k.data(), strides};
  arguments.v = {v.data(), strides};
  arguments.o = {o.data(), strides};

  tamis::TileRule rule;
  rule.n_of_m = {.n = 2, .m = 4};
  tamis::ExecutionContext context;
  context.pool = &pool;
  const tamis::AttentionPlan plan = tamis::Attend(arguments, nullptr, rule, context);
  for (float value : o) {
    if (std::abs(value - 3.0f) > 1e-5f) {
      std::printf("a mean of threes is %f\n", value);
      return 1;
    }
  }
  try {
    tamis::Model::Load("no-such-checkpoint", {.pool = &pool});
    std::printf("a checkpoint that does not exist loaded\n");
    return 1;
  } catch (const tamis::Error& error) {
    std::printf("%s; policy %s on %s\n", error.what(), tamis::Policy::Dense().name().c_str(),
                plan.path.c_str());
  }
  return 0;
}
