# What a program outside needs for find_package(sparknet); tests/consumer is such a program.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sparknet)
install(TARGETS sparknet EXPORT sparknetTargets FILE_SET HEADERS)
install(EXPORT sparknetTargets NAMESPACE sparknet:: DESTINATION ${package_dir})
foreach(component MPI GLOO NCCL CAFFE)  # each has a list of its own, so that who does not ask for the component does not need it
  string(TOLOWER ${component} name)
  if(SPARKNET_WITH_${component})
    install(TARGETS sparknet_${name} EXPORT sparknet_${name}_targets)
    install(EXPORT sparknet_${name}_targets NAMESPACE sparknet:: DESTINATION ${package_dir} FILE sparknet_${name}_targets.cmake)
  endif()
endforeach()
if(SPARKNET_WITH_C)
  install(TARGETS sparknet_c EXPORT sparknet_c_targets)
  install(EXPORT sparknet_c_targets NAMESPACE sparknet:: DESTINATION ${package_dir} FILE sparknet_c_targets.cmake)
endif()
if(SPARKNET_WITH_JNI)
  install(TARGETS sparknet_jni LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(SKBUILD)  # the wheel: the library and what it needs, but for what every Linux has
  install(TARGETS sparknet_c
    RUNTIME_DEPENDENCIES PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|z|stdc\\+\\+|gcc_s)\\.so"
    LIBRARY DESTINATION sparknet COMPONENT python)
  # A wheel would hold a link's file twice.
  install(CODE [[
    file(GLOB links "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/sparknet/*.so.*")
    foreach(link IN LISTS links)
      if(IS_SYMLINK "${link}")
        file(REAL_PATH "${link}" whole)
        file(REMOVE "${link}")
        file(RENAME "${whole}" "${link}")
      endif()
    endforeach()]] COMPONENT python)
endif()
if(SPARKNET_CLI)
  install(TARGETS sparknet_cli)
endif()
if(TARGET sparknet_cuda)
  install(TARGETS sparknet_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(SPARKNET_WITH_NCCL)
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/FindNCCL.cmake DESTINATION ${package_dir})
endif()
if(SPARKNET_WITH_CAFFE)
  foreach(package HDF5C LMDB LevelDB TurboJPEG)
    install(FILES ${PROJECT_SOURCE_DIR}/cmake/Find${package}.cmake DESTINATION ${package_dir})
  endforeach()
endif()

# A static library hands its private dependencies on to whoever links it; a shared one has them inside or names them itself.
get_target_property(kind sparknet TYPE)
if(kind STREQUAL "STATIC_LIBRARY")
  set(SPARKNET_STATIC ON)
else()
  set(SPARKNET_STATIC OFF)
endif()
set(SPARKNET_CAFFE_ALSO "")  # beside protobuf
foreach(format IN LISTS SPARKNET_CAFFE_FORMATS)
  if(SPARKNET_WITH_${format})
    list(JOIN SPARKNET_${format}_PACKAGE " " package)
    string(APPEND SPARKNET_CAFFE_ALSO " \"${package}\"")
  endif()
endforeach()
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/sparknetConfig.cmake.in ${PROJECT_BINARY_DIR}/sparknetConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sparknetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sparknetConfig.cmake ${PROJECT_BINARY_DIR}/sparknetConfigVersion.cmake
  DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/sparknet)
