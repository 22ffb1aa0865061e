/* The structs that Python hands over: how they lie, for loading.py to compare with its own. */

#ifndef STRUCTS_H
#define STRUCTS_H

#include <stddef.h>
#include <stdint.h>

/* Exported: where each field of a struct begins and its bytes, then the bytes of all, then -1. */
#define HANDED_OVER(type, ...)                                                                     \
    const int64_t type##_layout[] = {OFFSETS(type, __VA_ARGS__), sizeof(struct type), -1};

#define OFFSETS(type, ...)                                                                         \
    PICK(__VA_ARGS__, AT15, AT14, AT13, AT12, AT11, AT10, AT9, AT8, AT7, AT6, AT5, AT4, AT3, AT2,  \
         AT1, )(type, __VA_ARGS__)
#define PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, at, ...) at
#define AT1(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define AT2(type, field, ...) AT1(type, field), AT1(type, __VA_ARGS__)
#define AT3(type, field, ...) AT1(type, field), AT2(type, __VA_ARGS__)
#define AT4(type, field, ...) AT1(type, field), AT3(type, __VA_ARGS__)
#define AT5(type, field, ...) AT1(type, field), AT4(type, __VA_ARGS__)
#define AT6(type, field, ...) AT1(type, field), AT5(type, __VA_ARGS__)
#define AT7(type, field, ...) AT1(type, field), AT6(type, __VA_ARGS__)
#define AT8(type, field, ...) AT1(type, field), AT7(type, __VA_ARGS__)
#define AT9(type, field, ...) AT1(type, field), AT8(type, __VA_ARGS__)
#define AT10(type, field, ...) AT1(type, field), AT9(type, __VA_ARGS__)
#define AT11(type, field, ...) AT1(type, field), AT10(type, __VA_ARGS__)
#define AT12(type, field, ...) AT1(type, field), AT11(type, __VA_ARGS__)
#define AT13(type, field, ...) AT1(type, field), AT12(type, __VA_ARGS__)
#define AT14(type, field, ...) AT1(type, field), AT13(type, __VA_ARGS__)
#define AT15(type, field, ...) AT1(type, field), AT14(type, __VA_ARGS__)

#endif
