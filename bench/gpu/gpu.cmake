# The driver that checks and times the CUDA kernels on a GPU, over the library's own host code: bench/gpu/run.sh.
add_executable(fused_attention_gpu_bench
  bench/gpu/call.cc
  bench/gpu/cases.cc
  bench/gpu/check.cc
  bench/gpu/main.cc
  bench/gpu/results.cc
  bench/gpu/torch.cc
)
target_link_libraries(fused_attention_gpu_bench PRIVATE fused_attention_core ${CMAKE_DL_LIBS})
target_compile_definitions(fused_attention_gpu_bench PRIVATE
  GPU_BENCH_TORCH_SCRIPT="${CMAKE_CURRENT_SOURCE_DIR}/bench/gpu/sdpa.py")
