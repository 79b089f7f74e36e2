# Finding what others wrote, with one line that names the Debian package when it is missing.

# sparknet_require(package "what a person calls it" debian-package [VERSION v])
macro(sparknet_require package text debian)
  cmake_parse_arguments(arg "" "VERSION" "" ${ARGN})
  find_package(${package} ${arg_VERSION} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "sparknet needs ${text}, which was not found (Debian: apt-get install ${debian})")
  endif()
endmacro()

# sparknet_part(TESTS package debian-package [OPTION variable] [COMPONENTS c]...) sets SPARKNET_TESTS (build them?) and
# SPARKNET_TESTS_TEXT (for the summary), as the option says: SPARKNET_BUILD_TESTS unless it has another name.
macro(sparknet_part part package debian)
  cmake_parse_arguments(arg "" "OPTION" "COMPONENTS" ${ARGN})
  if(NOT arg_OPTION)
    set(arg_OPTION SPARKNET_BUILD_${part})
  endif()
  set(SPARKNET_${part} OFF)
  set(SPARKNET_${part}_TEXT "no")
  if(${arg_OPTION})  # AUTO is true here as well: any text but OFF, NO, 0 and the like
    find_package(${package} QUIET COMPONENTS ${arg_COMPONENTS})
    if(${package}_FOUND)
      set(SPARKNET_${part} ON)
      set(SPARKNET_${part}_TEXT "yes")
    elseif(${arg_OPTION} STREQUAL "AUTO")
      set(SPARKNET_${part}_TEXT "no: ${package} was not found (Debian: ${debian})")
    else()
      message(FATAL_ERROR "${arg_OPTION}=${${arg_OPTION}} needs ${package}, which was not found (Debian: apt-get install ${debian})")
    endif()
  endif()
endmacro()
