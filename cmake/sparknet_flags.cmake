# Language, warnings and sanitizers of every target below the root.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  if(PROJECT_IS_TOP_LEVEL)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)  # an unoptimised net is of no use
  else()
    set(CMAKE_BUILD_TYPE Release)
  endif()
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)  # so that the static library can go into a shared one, say a Python module

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(CCACHE ccache)
  if(CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  endif()
endif()

set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(SPARKNET_WERROR)
  list(APPEND warnings -Werror)
endif()
foreach(warning IN LISTS warnings)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:${warning}>)
endforeach()

if(SPARKNET_SANITIZE)
  list(JOIN SPARKNET_SANITIZE "," sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitizers})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")  # what checks each access is not vectorized, whatever is asked for
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-pass-failed>)
  endif()
endif()
if(SPARKNET_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SPARKNET_BUILD_FUZZERS needs clang (Debian: apt-get install clang libclang-rt-14-dev): -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)  # the library too, or the fuzzer sees no branches
endif()
