#include "tamis/cpu_isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "tamis/error.h"

namespace tamis {
namespace {

constexpr CpuIsa kAll[] = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16,
                           CpuIsa::kAmxBf16};

TEST(CpuIsa, NamesAreReadBack) {
  for (const CpuIsa isa : kAll) EXPECT_EQ(ParseCpuIsa(Name(isa)), isa);
  try {
    ParseCpuIsa("sse9");
    FAIL() << "an unknown instruction set was taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("sse9"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("amx-bf16"), std::string::npos) << error.what();
  }
}

// Tests of kernels run on these: a machine that lacks one must say so.
TEST(CpuIsa, ThoseAvailableAscendToTheDetected) {
  const std::vector<CpuIsa> available = AvailableCpuIsas();
  ASSERT_FALSE(available.empty());
  EXPECT_EQ(available.front(), CpuIsa::kPortable);
  EXPECT_EQ(available.back(), DetectCpuIsa());
  EXPECT_TRUE(std::is_sorted(available.begin(), available.end()));
  for (const CpuIsa isa : kAll) {
    if (isa > DetectCpuIsa()) {
      std::printf("not tested on this CPU (%s): kernels for %s\n", CpuModelName().c_str(),
                  std::string(Name(isa)).c_str());
    }
  }
}

}  // namespace
}  // namespace tamis
