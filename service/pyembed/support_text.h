/* support_text.h: support.py as a string; the definition is generated (BUILD). */
#ifndef PYEXEC_PYEMBED_SUPPORT_TEXT_H
#define PYEXEC_PYEMBED_SUPPORT_TEXT_H

extern const char support_text[];

#endif
