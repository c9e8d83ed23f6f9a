# WickFlags.cmake: the one place for compiler and linker flags. Everything we compile links wick-flags.
add_library(wick-flags INTERFACE)
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")  # not -O0: intrinsics are macros there, which warn
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

target_compile_definitions(wick-flags INTERFACE _GNU_SOURCE)
# A result is the same bits everywhere, so no contraction that one compiler does and another does not.
target_compile_options(wick-flags INTERFACE -ffp-contract=off -fno-math-errno
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla)
if(WICK_WERROR)
    target_compile_options(wick-flags INTERFACE -Werror)
endif()

if(WICK_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
        message(FATAL_ERROR "WICK_FUZZ needs Clang: configure with -DCMAKE_C_COMPILER=clang")
    endif()
    set(WICK_SANITIZE address,undefined)
    target_compile_options(wick-flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WICK_SANITIZE)
    # -O1: at -O2 the compiler takes twice as long, more than the tests gain. GCC warns at -O1 of what only some layouts fill and
    # read; its release build has the say there.
    target_compile_options(wick-flags INTERFACE -fsanitize=${WICK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
                           -O1 -g $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_link_options(wick-flags INTERFACE -fsanitize=${WICK_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL Release)
    target_compile_options(wick-flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        target_compile_options(wick-flags INTERFACE -fstack-clash-protection -fcf-protection)
    endif()
    target_link_options(wick-flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
endif()
if(WICK_COVERAGE)
    target_compile_options(wick-flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(wick-flags INTERFACE --coverage)
endif()
