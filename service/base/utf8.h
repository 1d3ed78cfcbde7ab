/* utf8.h: text from outside. proto3 strings must be UTF-8; protobuf-c checks nothing. */
#ifndef PYEXEC_BASE_UTF8_H
#define PYEXEC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_valid(const void *data, size_t n); /* RFC 3629: no surrogates, no overlong forms */

/* The largest k <= n such that data[0..k) does not end inside a (so far valid) sequence. */
size_t utf8_boundary(const void *data, size_t n);

#endif
