/* Event files: scalars for TensorBoard, written by rank 0.
 *
 * A file is a chain of records, each an Event message of TensorFlow's event.proto, encoded by hand:
 * first the format's name, then SessionLog START, then one summary a step. TensorBoard reads the
 * files of a folder in the order of their names and, at a START, forgets all steps from the START's
 * own on. So a run that continues after step s opens a new file with START at s + 1: whatever the
 * killed run had written beyond s, and the record it was writing when it died, no longer counts.
 * (TensorBoard's data server overlooks START; there the first step of the new file does the same.)
 * Record: u64 length, u32 masked CRC32C of the length, data, u32 masked CRC32C of the data; little
 * endian; masked(c) = rotr(c, 15) + 0xa282ead8.
 */
#ifndef SEPIT_IO_EVENT_FILE_H
#define SEPIT_IO_EVENT_FILE_H

#include "src/base/error.h"

#include <stdint.h>

typedef struct event_file event_file;

/* Creates the folder where it is missing, and in it a new file events.out.tfevents.SECONDS.HOST.PID
 * whose name comes behind those of the files that are there, even if the clock went back. `steps`
 * are done and keep what was written about them. wall_time: seconds since 1970.
 * STATUS_FAILED or STATUS_INPUT naming the path; then *opened is NULL. */
status event_file_open(event_file **opened, const char *folder, int64_t steps, double wall_time,
                       error *err);

/* One scalar of a step; TensorBoard keeps it as fp32. Those of one step, added in a row, become one
 * record. It is in memory until event_file_flush. */
void event_file_add(event_file *f, int64_t step, double wall_time, const char *name, double value);

/* Writes what was added. STATUS_FAILED naming the path when the disk says no; the next call writes
 * the same again to the same place, so no torn record stays in the middle of a file. */
status event_file_flush(event_file *f, error *err);

/* What was flushed is on disk when it returns. STATUS_FAILED naming the path. */
status event_file_sync(event_file *f, error *err);

/* Flushes, closes and frees, whatever comes back; NULL is fine. */
status event_file_close(event_file *f, error *err);

#endif
