# cmake -D COMPILER=... -D FLAGS=... -D FILE=... -D TEXT=... -P expect.cmake
# Compiles FILE, which must fail and say TEXT; with TEXT=compiles it must not fail.
cmake_minimum_required(VERSION 3.25)
set(ENV{LC_ALL} C)  # plain quotes and no translation
set(ENV{CCACHE_DISABLE} 1)
execute_process(COMMAND ${COMPILER} ${FLAGS} -fsyntax-only ${FILE} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(TEXT STREQUAL "compiles")
  if(NOT status EQUAL 0)
    message(NOTICE "${output}")
    message(FATAL_ERROR "This should have compiled")
  endif()
  return()
endif()
if(status EQUAL 0)
  message(FATAL_ERROR "This compiled, but should have been refused with the text: ${TEXT}")
endif()
string(FIND "${output}" "${TEXT}" at)
if(at EQUAL -1)
  message(NOTICE "${output}")  # as it is: FATAL_ERROR would break the lines anew
  message(FATAL_ERROR "The compiler did not say: ${TEXT}")
endif()
