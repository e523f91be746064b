# What is installed can be moved: the CMake package finds itself, and metalloid.pc starts from ${pcfiledir}.
include(CMakePackageConfigHelpers)

set(packageDirectory "${CMAKE_INSTALL_LIBDIR}/cmake/metalloid")

install(
  TARGETS metalloid
  EXPORT metalloidTargets
  ARCHIVE COMPONENT development
  LIBRARY COMPONENT development
  RUNTIME COMPONENT development
  FILE_SET HEADERS COMPONENT development)
install(EXPORT metalloidTargets NAMESPACE metalloid:: DESTINATION "${packageDirectory}" COMPONENT development)

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/metalloidConfig.cmake.in" "${PROJECT_BINARY_DIR}/metalloidConfig.cmake"
  INSTALL_DESTINATION "${packageDirectory}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 only the same minor version is compatible.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/metalloidConfigVersion.cmake" COMPATIBILITY SameMinorVersion)

# A static library hands its own dependencies on; a shared one has resolved them already.
if(BUILD_SHARED_LIBS)
  set(METALLOID_PC_DEPENDENCIES "Requires.private: libhwy zlib\nLibs.private: -pthread -ldl")
  set(METALLOID_PC_LIBS "")
else()
  set(METALLOID_PC_DEPENDENCIES "Requires: libhwy zlib")
  set(METALLOID_PC_LIBS " -pthread -ldl")
endif()
cmake_path(SET pkgconfigDirectory NORMALIZE "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${pkgconfigDirectory}"
           OUTPUT_VARIABLE METALLOID_PC_PREFIX)
configure_file("${PROJECT_SOURCE_DIR}/cmake/metalloid.pc.in" "${PROJECT_BINARY_DIR}/metalloid.pc" @ONLY)

install(FILES "${PROJECT_BINARY_DIR}/metalloidConfig.cmake" "${PROJECT_BINARY_DIR}/metalloidConfigVersion.cmake"
        DESTINATION "${packageDirectory}" COMPONENT development)
install(FILES "${PROJECT_BINARY_DIR}/metalloid.pc" DESTINATION "${pkgconfigDirectory}" COMPONENT development)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/metalloid" COMPONENT development)
