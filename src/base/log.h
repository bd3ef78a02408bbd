/* Log lines: plain sentences on standard error, and in the run folder's log.txt.
 *
 * Rank 0 speaks; a warning or error is printed by whichever rank has it, with its number.
 * The level is the program's one mutable global.
 */
#ifndef SEPIT_BASE_LOG_H
#define SEPIT_BASE_LOG_H

#include <stdio.h>

typedef enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO } log_level;

/* Says which rank this process is (0 before MPI is up) and how much it prints. */
void log_set_rank(int rank);
void log_set_level(log_level level);
int log_rank(void);

/* Copies every line to `file` as well; NULL ends that. Borrows the file. */
void log_set_file(FILE *file);

/* One line each; the newline is added. log_info prints on rank 0 only. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
