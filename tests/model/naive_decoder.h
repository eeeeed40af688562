// The decoder in double precision, one token and one loop at a time.
#ifndef TAMIS_TESTS_MODEL_NAIVE_DECODER_H_
#define TAMIS_TESTS_MODEL_NAIVE_DECODER_H_

#include <span>
#include <vector>

#include "model/checkpoint/test_model.h"

namespace tamis::testing {

/// Logits [tokens][vocab] of a prompt read densely.
std::vector<double> NaiveLogits(const TestModel& model, std::span<const int32_t> tokens);

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_NAIVE_DECODER_H_
