# The CUDA back end is a module of its own, loaded at run time when present: the library itself never links CUDA.
set(cudaSources "${PROJECT_SOURCE_DIR}/src/backends/cuda")

set(buildCuda "${METALLOID_BUILD_CUDA}")
if(METALLOID_BUILD_CUDA STREQUAL "AUTO")
  set(buildCuda OFF)
  # A sanitized process and the driver do not get along.
  if(NOT METALLOID_SANITIZE)
    find_package(CUDAToolkit 13 QUIET)
    if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE AND TARGET CUDA::cublasLt)
      if(NOT CMAKE_CUDA_COMPILER)
        set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}")
      endif()
      set(buildCuda ON)
    endif()
  endif()
endif()

if(buildCuda)
  message(STATUS "CUDA back end: yes")
  # What finds and drives the module is part of the library.
  file(GLOB cudaLoaderSources CONFIGURE_DEPENDS "${cudaSources}/*.cpp")
  target_sources(metalloid PRIVATE ${cudaLoaderSources})
  set_property(
    SOURCE "${PROJECT_SOURCE_DIR}/src/backends/devices.cpp"
    APPEND
    PROPERTY COMPILE_DEFINITIONS METALLOID_CUDA)
  set_property(
    SOURCE "${cudaSources}/module_loader.cpp"
    APPEND
    PROPERTY COMPILE_DEFINITIONS "METALLOID_INSTALLED_LIBRARIES=\"${CMAKE_INSTALL_FULL_LIBDIR}\"")
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    if(NOT METALLOID_BUILD_CUDA STREQUAL "AUTO")
      set(CMAKE_CUDA_ARCHITECTURES 90a-real 80-virtual)  # machine code for Hopper; others from 8.0 on compile the PTX
    elseif(EXISTS /proc/driver/nvidia/version)
      set(CMAKE_CUDA_ARCHITECTURES native)
    else()
      set(CMAKE_CUDA_ARCHITECTURES 90a-real)  # no GPU here: for those that it is tested on
    endif()
  endif()
  enable_language(CUDA)
  if("${CMAKE_CUDA_ARCHITECTURES}" STREQUAL "native" AND "90-real" IN_LIST CMAKE_CUDA_ARCHITECTURES_NATIVE)
    set(CMAKE_CUDA_ARCHITECTURES 90a-real)  # with the instructions that only Hopper has
  endif()
  add_subdirectory("${cudaSources}")
else()
  message(STATUS "CUDA back end: no (METALLOID_BUILD_CUDA is ${METALLOID_BUILD_CUDA})")
endif()
