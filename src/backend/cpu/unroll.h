/* unroll.h: UNROLL before a loop of constant length whose arrays are meant to be registers. With sanitizers it says nothing:
 * checks on every access of unrolled loops take compilers minutes. */
#ifndef WK_UNROLL_H
#define WK_UNROLL_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define WK_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WK_SANITIZED
#endif

#if defined(WK_SANITIZED)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
