// The SM clock that the GPU runs at under the load that went before.
#ifndef TAMIS_TESTS_GPU_CLOCK_H_
#define TAMIS_TESTS_GPU_CLOCK_H_

namespace tamis::gpu_testing {

/// Enqueues a short spin on the default stream, waits for it and returns MHz.
double MeasureClock();

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_CLOCK_H_
