/* What `sepit --version` prints and every dataset records. */
#ifndef SEPIT_BASE_VERSION_H
#define SEPIT_BASE_VERSION_H

#define SEPIT_VERSION "sepit 0.1"

#endif
