/* version.h: the one place of the version number. */
#ifndef PYEXEC_BASE_VERSION_H
#define PYEXEC_BASE_VERSION_H

#define PYEXEC_VERSION "0.1.0"
#define PYEXEC_API_VERSION "pyexec.v1"

#endif
