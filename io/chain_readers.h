/* The two readers behind chain_file_parse. Internal to io/; users see io/chain.h. */
#ifndef SEPIT_IO_CHAIN_READERS_H
#define SEPIT_IO_CHAIN_READERS_H

#include "io/chain_collect.h"

/* Fill a fresh collector from text [size]; `path` is for messages. STATUS_INPUT with "PATH:LINE: …"
 * for what cannot be read; the collector is then half full, to be destroyed. */
status pdb_read(const char *text, size_t size, const char *path, collector *c, error *err);
status mmcif_read(const char *text, size_t size, const char *path, collector *c, error *err);

#endif
