# aarch64-linux-gnu.cmake: builds for 64-bit Arm on another machine, with Debian's cross compiler and the libraries that
# scripts/arm64-root.sh unpacked into WICK_ARM64_ROOT. CC=clang in the environment takes Clang instead of GCC.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
if(DEFINED ENV{CC} AND "$ENV{CC}" MATCHES clang)
    set(CMAKE_C_COMPILER $ENV{CC})
    set(CMAKE_C_COMPILER_TARGET aarch64-linux-gnu)
else()
    set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
endif()
set(WICK_ARM64_ROOT "" CACHE PATH "where scripts/arm64-root.sh unpacked arm64 libraries")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES WICK_ARM64_ROOT)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu ${WICK_ARM64_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# pkg-config sees these packages alone, and says their paths under the root.
set(ENV{PKG_CONFIG_LIBDIR} ${WICK_ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${WICK_ARM64_ROOT})
