# Compiles cuda/kernels to PTX where there is an nvcc and embeds the text in a source file, whose path is
# FUSED_ATTENTION_EMBEDDED_KERNELS. Without one the file says so, and the addon has no CUDA kernels.
#
# The text is the same for every system, so one machine with nvcc can make it for others without:
#   cmake -S . -B build-kernels && cmake --build build-kernels --target fused_attention_kernels   # build-kernels/cuda/forward.ptx
#   cmake -S . -B build -DFUSED_ATTENTION_PTX_FILE=/path/of/forward.ptx
# Through npm (`npm run build:native`, `npm run binaries`) the environment variable of that name gives the path. A file that
# is not there fails the build, so that one that should have kernels is never made without.
option(FUSED_ATTENTION_CUDA "Compile the CUDA kernels where there is an nvcc" ON)
set(FUSED_ATTENTION_PTX_FILE "" CACHE STRING "The CUDA kernels as PTX, to be embedded instead of being compiled")
find_program(NVCC nvcc PATHS /usr/local/cuda/bin)

set(FUSED_ATTENTION_EMBEDDED_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/cuda/embedded_kernels.cc)
set(EMBED ${CMAKE_CURRENT_SOURCE_DIR}/cuda/embed.cmake)
set(FORWARD_PTX ${CMAKE_CURRENT_BINARY_DIR}/cuda/forward.ptx)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
if(FUSED_ATTENTION_PTX_FILE)
  get_filename_component(GIVEN_PTX ${FUSED_ATTENTION_PTX_FILE} ABSOLUTE)
  if(NOT EXISTS ${GIVEN_PTX})
    message(FATAL_ERROR "FUSED_ATTENTION_PTX_FILE: there is no ${GIVEN_PTX}")
  endif()
  add_custom_command(
    OUTPUT ${FUSED_ATTENTION_EMBEDDED_KERNELS}
    COMMAND ${CMAKE_COMMAND} -DFROM=${GIVEN_PTX} -DPTX=${FORWARD_PTX} -DSOURCE=${FUSED_ATTENTION_EMBEDDED_KERNELS}
            -P ${EMBED}
    DEPENDS ${EMBED} ${GIVEN_PTX}
    VERBATIM)
elseif(FUSED_ATTENTION_CUDA AND NVCC)
  add_custom_command(
    OUTPUT ${FUSED_ATTENTION_EMBEDDED_KERNELS}
    COMMAND ${NVCC} -ptx -arch=compute_80 -std=c++17 --expt-relaxed-constexpr -o ${FORWARD_PTX}.new
            ${CMAKE_CURRENT_SOURCE_DIR}/cuda/kernels/forward.cu
    COMMAND ${CMAKE_COMMAND} -DFROM=${FORWARD_PTX}.new -DPTX=${FORWARD_PTX}
            -DSOURCE=${FUSED_ATTENTION_EMBEDDED_KERNELS} -P ${EMBED}
    DEPENDS ${EMBED}
            cuda/kernels/decode.cuh
            cuda/kernels/forward.cu
            cuda/kernels/forward_parameters.h
            cuda/kernels/instructions.cuh
            cuda/kernels/products.cuh
            cuda/kernels/seen.cuh
            cuda/kernels/softmax.cuh
            cuda/kernels/tiles.cuh
            cuda/kernels/warp_queries.cuh
    VERBATIM)
else()
  execute_process(COMMAND ${CMAKE_COMMAND} -DSOURCE=${FUSED_ATTENTION_EMBEDDED_KERNELS} -P ${EMBED}
    COMMAND_ERROR_IS_FATAL ANY)
endif()
# What other machines are to embed. Everything else goes by the file above, in one place only, or it were made twice.
add_custom_target(fused_attention_kernels DEPENDS ${FUSED_ATTENTION_EMBEDDED_KERNELS})
