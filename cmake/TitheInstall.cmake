# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# What `cmake --install` writes: the headers, and a package for find_package(tithe).
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_folder "${CMAKE_INSTALL_DATADIR}/cmake/tithe")
get_property(tithe_torch_hint GLOBAL PROPERTY tithe_torch_folder)

install(TARGETS tithe-core tithe-tokenizer tithe-tithe EXPORT tithe-targets FILE_SET HEADERS)
install(EXPORT tithe-targets NAMESPACE tithe:: DESTINATION "${package_folder}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/tithe-config.cmake.in"
                              "${PROJECT_BINARY_DIR}/package/tithe-config.cmake"
                              INSTALL_DESTINATION "${package_folder}")
# Before 1.0 a new minor version may break a user. Headers are the same for every architecture.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/tithe-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/package/tithe-config.cmake"
              "${PROJECT_BINARY_DIR}/package/tithe-config-version.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/TitheTorch.cmake" "${CMAKE_CURRENT_LIST_DIR}/TitheDependencies.cmake"
        DESTINATION "${package_folder}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/tithe")
