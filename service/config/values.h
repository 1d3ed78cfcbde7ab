/* values.h: the texts of option values. Private to config. */
#ifndef PYEXEC_CONFIG_VALUES_H
#define PYEXEC_CONFIG_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "service/config/config.h"

int config_count(const char *text, uint64_t *ret_count); /* 0 or -1 */
void config_show_duration(int64_t ns, char *out, size_t size);
void config_show_size(uint64_t bytes, char *out, size_t size);

#endif
