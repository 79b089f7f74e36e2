# The headers of the JVM's native interface: JNIHeaders_FOUND and the target JNI::headers. FindJNI wants the JVM's own libraries
# too, which nothing is linked with.
file(GLOB homes /usr/lib/jvm/default-java /usr/lib/jvm/java-17-* /usr/lib/jvm/*)
find_path(JNIHeaders_INCLUDE_DIR jni.h HINTS ENV JAVA_HOME PATHS ${homes} PATH_SUFFIXES include)
find_path(JNIHeaders_MACHINE_INCLUDE_DIR jni_md.h HINTS ${JNIHeaders_INCLUDE_DIR}/linux ${JNIHeaders_INCLUDE_DIR}/darwin)
mark_as_advanced(JNIHeaders_INCLUDE_DIR JNIHeaders_MACHINE_INCLUDE_DIR)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(JNIHeaders REQUIRED_VARS JNIHeaders_INCLUDE_DIR JNIHeaders_MACHINE_INCLUDE_DIR)
if(JNIHeaders_FOUND AND NOT TARGET JNI::headers)
  add_library(JNI::headers INTERFACE IMPORTED)
  set_target_properties(JNI::headers PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${JNIHeaders_INCLUDE_DIR};${JNIHeaders_MACHINE_INCLUDE_DIR}")
endif()
