# Installs the library to a scratch prefix, builds tests/package against it and runs the result; then once more after the
# prefix has moved, because an installed tree must not remember where it was made.
#
#   cmake -D METHOD=find_package|pkg-config -D BUILD=… -D SCRATCH=… -D SOURCE=… -D COMPILER=… -D GENERATOR=… -D LIBDIR=… -P test.cmake

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(consumeWithFindPackage prefix work)
  run(${CMAKE_COMMAND} -G ${GENERATOR} -S "${SOURCE}" -B "${work}" -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_CXX_COMPILER=${COMPILER}
      -D CMAKE_BUILD_TYPE=Release --log-level=WARNING)
  run(${CMAKE_COMMAND} --build "${work}")
  run("${work}/consumer")
endfunction()

function(consumeWithPkgConfig prefix work)
  find_program(PKG_CONFIG NAMES pkgconf pkg-config REQUIRED)
  set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
  execute_process(COMMAND "${PKG_CONFIG}" --cflags --libs metalloid OUTPUT_VARIABLE flags
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  file(MAKE_DIRECTORY "${work}")
  run("${COMPILER}" -std=c++20 -O2 "${SOURCE}/main.cpp" -o "${work}/consumer" ${flags})
  set(ENV{LD_LIBRARY_PATH} "${prefix}/${LIBDIR}")  # only a shared library is looked for
  run("${work}/consumer")
endfunction()

function(consume prefix work)
  if(METHOD STREQUAL "find_package")
    consumeWithFindPackage("${prefix}" "${work}")
  else()
    consumeWithPkgConfig("${prefix}" "${work}")
  endif()
endfunction()

file(REMOVE_RECURSE "${SCRATCH}")
run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${SCRATCH}/installed" --component development)

file(GLOB_RECURSE packageFiles "${SCRATCH}/installed/*.cmake" "${SCRATCH}/installed/*.pc")
foreach(file IN LISTS packageFiles)
  file(READ "${file}" text)
  foreach(place IN ITEMS "${BUILD}" "${SCRATCH}")
    string(FIND "${text}" "${place}" position)
    if(NOT position EQUAL -1)
      message(FATAL_ERROR "${file} contains the absolute path ${place}.")
    endif()
  endforeach()
endforeach()

consume("${SCRATCH}/installed" "${SCRATCH}/first")
file(RENAME "${SCRATCH}/installed" "${SCRATCH}/moved")
consume("${SCRATCH}/moved" "${SCRATCH}/second")
