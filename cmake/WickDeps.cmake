# WickDeps.cmake: libraries from the system, by pkg-config. wick-deps: what the library needs; wick-editline: what the
# program uses if it is there. What is missing and optional is said in one line, and the rest builds.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.40)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc>=2.6)  # Debian's 2.8.0 calls itself 2.6.0
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1>=0.2)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3>=3.34)
add_library(wick-deps INTERFACE)
target_link_libraries(wick-deps INTERFACE PkgConfig::pcre2 PkgConfig::utf8proc PkgConfig::jansson PkgConfig::yaml
                      PkgConfig::sqlite3 Threads::Threads m)

add_library(wick-editline INTERFACE)
pkg_check_modules(libedit QUIET IMPORTED_TARGET libedit)
if(libedit_FOUND)
    target_link_libraries(wick-editline INTERFACE PkgConfig::libedit)
    target_compile_definitions(wick-editline INTERFACE WK_HAVE_LIBEDIT=1)
else()
    message(NOTICE "libedit not found: wick chat reads plain lines, without history (Debian: libedit-dev)")
endif()

if(WICK_BUILD_TESTS)
    pkg_check_modules(cmocka QUIET IMPORTED_TARGET cmocka)
    if(NOT cmocka_FOUND)
        message(STATUS "cmocka not found: unit tests are not built (Debian: libcmocka-dev)")
    endif()
endif()
