# Compiles cuda/kernels to PTX where there is an nvcc and embeds the text in a source file, whose path is
# FUSED_ATTENTION_EMBEDDED_KERNELS. Without one the file says so, and the addon has no CUDA kernels.
option(FUSED_ATTENTION_CUDA "Compile the CUDA kernels where there is an nvcc" ON)
find_program(NVCC nvcc PATHS /usr/local/cuda/bin)

set(FUSED_ATTENTION_EMBEDDED_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/cuda/embedded_kernels.cc)
set(EMBED ${CMAKE_CURRENT_SOURCE_DIR}/cuda/embed.cmake)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
if(FUSED_ATTENTION_CUDA AND NVCC)
  set(FORWARD_PTX ${CMAKE_CURRENT_BINARY_DIR}/cuda/forward.ptx)
  add_custom_command(
    OUTPUT ${FUSED_ATTENTION_EMBEDDED_KERNELS}
    COMMAND ${NVCC} -ptx -arch=compute_80 -std=c++17 --expt-relaxed-constexpr -o ${FORWARD_PTX}.new
            ${CMAKE_CURRENT_SOURCE_DIR}/cuda/kernels/forward.cu
    COMMAND ${CMAKE_COMMAND} -DFROM=${FORWARD_PTX}.new -DPTX=${FORWARD_PTX}
            -DSOURCE=${FUSED_ATTENTION_EMBEDDED_KERNELS} -P ${EMBED}
    DEPENDS ${EMBED}
            cuda/kernels/forward.cu
            cuda/kernels/forward_parameters.h
            cuda/kernels/instructions.cuh
            cuda/kernels/products.cuh
            cuda/kernels/seen.cuh
            cuda/kernels/softmax.cuh
            cuda/kernels/tiles.cuh
    VERBATIM)
else()
  execute_process(COMMAND ${CMAKE_COMMAND} -DSOURCE=${FUSED_ATTENTION_EMBEDDED_KERNELS} -P ${EMBED}
    COMMAND_ERROR_IS_FATAL ANY)
endif()
