# The PTX interpreter, its drop-in libcuda.so.1 and its tests. Kernels are compiled by nvcc at build time; no PTX is
# committed.
find_program(NVCC nvcc PATHS /usr/local/cuda/bin)
if(NOT NVCC)
  message(FATAL_ERROR "FUSED_ATTENTION_PTX needs nvcc (CUDA toolkit 12.4 or later), and there is none on the PATH")
endif()

set(PTX_SOURCES
  test/ptx/access.cc
  test/ptx/async.cc
  test/ptx/atomics.cc
  test/ptx/bits.cc
  test/ptx/block.cc
  test/ptx/compare.cc
  test/ptx/control.cc
  test/ptx/convert.cc
  test/ptx/counters.cc
  test/ptx/decoder.cc
  test/ptx/exchange.cc
  test/ptx/findings.cc
  test/ptx/float.cc
  test/ptx/integer.cc
  test/ptx/launch.cc
  test/ptx/lexer.cc
  test/ptx/matrix.cc
  test/ptx/memory.cc
  test/ptx/memory_instructions.cc
  test/ptx/mma.cc
  test/ptx/move.cc
  test/ptx/parser.cc
  test/ptx/program.cc
  test/ptx/races.cc
  test/ptx/registers.cc
  test/ptx/traffic.cc
  test/ptx/warp.cc
)
set(PTX_TEST_SOURCES
  test/native/main.cc
  test/ptx/tests/arithmetic_test.cc
  test/ptx/tests/control_test.cc
  test/ptx/tests/counters_test.cc
  test/ptx/tests/driver_test.cc
  test/ptx/tests/exchange_test.cc
  test/ptx/tests/faults_test.cc
  test/ptx/tests/half_test.cc
  test/ptx/tests/matmul_test.cc
  test/ptx/tests/matrix_test.cc
  test/ptx/tests/memory_test.cc
  test/ptx/tests/parser_test.cc
)
set(PTX_DRIVER_SOURCES
  test/ptx/driver/contexts.cc
  test/ptx/driver/device.cc
  test/ptx/driver/lookup.cc
  test/ptx/driver/memory_calls.cc
  test/ptx/driver/modules.cc
  test/ptx/driver/mutations.cc
  test/ptx/driver/queue.cc
  test/ptx/driver/streams.cc
)
set(PTX_KERNELS arithmetic control exchange faults matmul matrix memory)

add_library(fused_attention_ptx OBJECT ${PTX_SOURCES})
target_link_libraries(fused_attention_ptx PUBLIC fused_attention_options)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # Loops over 32 lanes are what the interpreter does all day, and fma by a library call costs ten times as much.
  target_compile_options(fused_attention_ptx PUBLIC -mavx2 -mfma -mf16c)
endif()

# The toolkit's cuda.h, beside nvcc wherever that is.
get_filename_component(NVCC_REAL ${NVCC} REALPATH)
get_filename_component(NVCC_DIRECTORY ${NVCC_REAL} DIRECTORY)
find_path(CUDA_INCLUDE cuda.h NO_DEFAULT_PATH
  PATHS ${NVCC_DIRECTORY}/../include /usr/local/cuda/include)
if(NOT CUDA_INCLUDE)
  message(FATAL_ERROR "FUSED_ATTENTION_PTX needs the toolkit's cuda.h, and there is none beside ${NVCC}")
endif()

# libcuda.so.1, to be found before the real one; it exports what cuda.h declares and report.h.
add_library(fused_attention_ptx_driver SHARED ${PTX_DRIVER_SOURCES})
target_link_libraries(fused_attention_ptx_driver PRIVATE fused_attention_ptx ${CMAKE_DL_LIBS})
target_include_directories(fused_attention_ptx_driver SYSTEM PRIVATE ${CUDA_INCLUDE})
set_target_properties(fused_attention_ptx_driver PROPERTIES
  OUTPUT_NAME cuda VERSION 1 SOVERSION 1 CXX_VISIBILITY_PRESET default LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/ptx)

set(PTX_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/ptx)
file(MAKE_DIRECTORY ${PTX_DIRECTORY})
foreach(kernel ${PTX_KERNELS})
  add_custom_command(
    OUTPUT ${PTX_DIRECTORY}/${kernel}.ptx
    COMMAND ${NVCC} -ptx -arch=compute_80 -std=c++17 -o ${PTX_DIRECTORY}/${kernel}.ptx
            ${CMAKE_CURRENT_SOURCE_DIR}/test/ptx/kernels/${kernel}.cu
    DEPENDS test/ptx/kernels/${kernel}.cu
    VERBATIM)
  list(APPEND PTX_FILES ${PTX_DIRECTORY}/${kernel}.ptx)
endforeach()
add_custom_target(fused_attention_ptx_kernels DEPENDS ${PTX_FILES})

add_executable(fused_attention_ptx_tests ${PTX_TEST_SOURCES})
target_link_libraries(fused_attention_ptx_tests PRIVATE fused_attention_ptx ${CMAKE_DL_LIBS})
target_include_directories(fused_attention_ptx_tests PRIVATE test/native test/ptx)
target_include_directories(fused_attention_ptx_tests SYSTEM PRIVATE ${CUDA_INCLUDE})
target_compile_definitions(fused_attention_ptx_tests PRIVATE PTX_DIRECTORY="${PTX_DIRECTORY}")
add_dependencies(fused_attention_ptx_tests fused_attention_ptx_kernels fused_attention_ptx_driver)
