# WickInstall.cmake: what `make install` copies: header, libraries, program, pkg-config and CMake files, and the man pages
# and completions, which the program prints itself from its flag table.
install(FILES include/wick.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS wick ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET wick-shared)
    install(TARGETS wick-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(FILES LICENSE NOTICE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Both files find the prefix from where they lie, so that DESTDIR and a changed --prefix hold.
file(RELATIVE_PATH wick_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/wick.pc.in wick.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/wick.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/WickConfig.cmake.in WickConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Wick PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(WickConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/WickConfig.cmake ${CMAKE_BINARY_DIR}/WickConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Wick)

if(TARGET wick-cli)
    install(TARGETS wick-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    if(NOT CMAKE_CROSSCOMPILING)
        configure_file(cmake/install-docs.cmake.in install-docs.cmake @ONLY)
        install(SCRIPT ${CMAKE_BINARY_DIR}/install-docs.cmake)
    endif()
endif()
