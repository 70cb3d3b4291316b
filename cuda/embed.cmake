# cmake [-DFROM=<nvcc's PTX, or what this made of it> -DPTX=<the same as shipped>] -DSOURCE=<C++ file to write> -P embed.cmake
# nvcc writes its own version of the language, which only drivers as new as it is take. The kernels use nothing that
# came after the least version of their target, so that is what the text asks for: any driver since 2020 takes it.
set(LEAST_VERSION 7.0)

set(TEXT "nullptr")
if(FROM)
  file(READ ${FROM} KERNELS)
  string(REGEX REPLACE "\n\\.version [0-9.]+" "\n.version ${LEAST_VERSION}" KERNELS "${KERNELS}")
  # A hint of newer versions, about loads of which some bytes are not used.
  string(REGEX REPLACE "\n[ \t]*\\.pragma \"used_bytes_mask[^\n]*" "" KERNELS "${KERNELS}")
  # Comments, empty lines and long labels, an eighth of the text that every binary carries.
  string(REGEX REPLACE "\n[ \t]*//[^\n]*" "" KERNELS "${KERNELS}")
  string(REGEX REPLACE "\n\n+" "\n" KERNELS "${KERNELS}")
  string(REGEX REPLACE "[$]L__BB[0-9]+_" "$L" KERNELS "${KERNELS}")
  if(NOT KERNELS MATCHES "\n\\.visible \\.entry ")
    message(FATAL_ERROR "${FROM} has no kernels")
  endif()
  file(WRITE ${PTX} "${KERNELS}")
  set(TEXT "R\"ptx(${KERNELS})ptx\"")
endif()
file(WRITE ${SOURCE}
  "#include \"embedded_kernels.h\"\n\nnamespace fused_attention::cuda {\nconst char* const kForwardPtx = ${TEXT};\n}\n")
