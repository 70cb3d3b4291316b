// What the drop-in libcuda.so.1 exports beside the driver API, for harnesses that assert findings and counts.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// JSON of a device's findings and counters: { findings: [...], kernels: { name: counters } }. Writes at most `size`
// bytes with a final zero, and returns how many bytes there are without it.
size_t ptxReport(int device, char* text, size_t size);

// Forgets them.
void ptxReset(int device);

// The schedule of the launches to come: order and quantum of blocks and warps.
void ptxSchedule(int device, uint64_t seed, int quantum);
}
