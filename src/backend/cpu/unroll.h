/* unroll.h: UNROLL, or WK_UNROLL where the loop has up to 32 turns, before a loop of constant length whose arrays are meant to be
 * registers. With sanitizers they say nothing: checks on every access of unrolled loops take compilers minutes. */
#ifndef WK_UNROLL_H
#define WK_UNROLL_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer) || __has_feature(thread_sanitizer)
#define WK_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WK_SANITIZED
#endif

#if defined(WK_SANITIZED)
#define UNROLL
#define WK_UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("unroll")
#define WK_UNROLL UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#define WK_UNROLL _Pragma("GCC unroll 32")
#endif

#endif
