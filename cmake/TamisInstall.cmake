# Install tree and package files: find_package(tamis) gives tamis::<room> and tamis::tamis.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(tamis INTERFACE)
add_library(tamis::tamis ALIAS tamis)
get_property(rooms GLOBAL PROPERTY TAMIS_ROOMS)
target_link_libraries(tamis INTERFACE ${rooms})

install(DIRECTORY include/tamis DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ${rooms} tamis EXPORT tamisTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT tamisTargets NAMESPACE tamis:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tamis)

configure_package_config_file(cmake/tamisConfig.cmake.in ${CMAKE_BINARY_DIR}/tamisConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tamis)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tamisConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tamisConfig.cmake ${CMAKE_BINARY_DIR}/tamisConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tamis)
