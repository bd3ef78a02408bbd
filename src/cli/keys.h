/* The program's table of keys: what validates is also what `sepit help` prints. */
#ifndef SEPIT_CLI_KEYS_H
#define SEPIT_CLI_KEYS_H

#include "src/base/config.h"

/* Ends with a NULL name. */
extern const config_key sepit_keys[];

#endif
