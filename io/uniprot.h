/* UniProtKB flat files (.dat, .dat.gz): records one by one, and what each says.
 *
 * A reader hands out records, the text from an ID line to its `//`; a parser turns one record into
 * an entry. All layouts since 1998 are read: ID with and without "PRT;", DE structured and free,
 * FT in fixed columns (until 2019_10) and in qualifiers, evidence as {ECO:…} tags and as
 * "(By similarity)". A record that cannot be trusted is STATUS_INPUT, to be counted and skipped by
 * the caller; a line code, topic or feature key that is not known is counted, never an error.
 * Read next: io/uniprot_reader.c, io/uniprot.c, io/uniprot_comments.c, io/uniprot_features.c.
 * Format: UniProt user manual (https://web.expasy.org/docs/userman.html).
 */
#ifndef SEPIT_IO_UNIPROT_H
#define SEPIT_IO_UNIPROT_H

#include "src/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- records -------------------------------------------------------------------------------- */

/* One record, borrowed from the reader until its next call. */
typedef struct uniprot_record {
    const char *text; /* [size], no NUL behind it */
    size_t size;      /* bytes; 0 = no more records */
    const char *file; /* path, for messages */
    int64_t offset;   /* byte of the (uncompressed) text at which the record starts */
    int64_t line;     /* line of the file, from 1; 0 = not known, because reading began inside */
} uniprot_record;

typedef struct uniprot_reader uniprot_reader;

/* Opens for the records that *start* in bytes [begin, end) of the file; end = −1: the file's end.
 * Ranges that cover a file without overlap give every record exactly once, so ranks share a plain
 * file without talking. A record starts at any line "ID   …", and at any line that stands first or
 * follows a `//` or an empty line: a record without ID or `//` is handed out, for the parser to
 * name. Local. STATUS_INPUT for a missing or empty file, one that does not begin with an ID line
 * (looked at by the range that begins at 0), and a compressed file with begin ≠ 0 or end ≠ −1. */
status uniprot_reader_open(uniprot_reader **opened, const char *path, int64_t begin, int64_t end,
                           error *err);
void uniprot_reader_close(uniprot_reader *r);

/* The next record, or size 0 at the end. Local. Fails as text_reader_read does, and with
 * STATUS_INPUT for a record longer than 256 MiB. After a failure no record can follow. */
status uniprot_reader_next(uniprot_reader *r, uniprot_record *record, error *err);

/* Fills in record->line where it is 0, by counting the lines before the range; the count is kept,
 * so that the file's head is read once at most. */
status uniprot_reader_locate(uniprot_reader *r, uniprot_record *record, error *err);

/* ---- what a record says --------------------------------------------------------------------- */

/* What a statement rests on. A smaller number other than 0 is stronger; a text with several tags
 * has the strongest. In brackets: evidence codes (ECO) and the words before 2014. */
typedef enum uniprot_evidence {
    EVIDENCE_NONE,         /* no tag */
    EVIDENCE_EXPERIMENTAL, /* 269; 7744 large scale, by a curator */
    EVIDENCE_CURATOR,      /* 305, 303; "Probable" */
    EVIDENCE_SIMILARITY,   /* 250; "By similarity" */
    EVIDENCE_AUTOMATIC,    /* 255, 256, 259 rules; 213, 313, 7829; "Potential" */
    EVIDENCE_OTHER         /* 312 imported by a curator, and any other code */
} uniprot_evidence;

typedef enum uniprot_name_kind {
    NAME_RECOMMENDED, /* RecName; the whole name before 2008 */
    NAME_ALTERNATIVE, /* AltName; the names in parentheses before 2008 */
    NAME_SUBMITTED    /* SubName: unreviewed entries */
} uniprot_name_kind;

typedef enum uniprot_name_field {
    NAME_FULL,
    NAME_SHORT,
    NAME_EC,
    NAME_SPECIAL /* Allergen, Biotech, CD_antigen, INN */
} uniprot_name_field;

typedef struct uniprot_name {
    uniprot_name_kind kind;
    uniprot_name_field field;
    int part; /* 0 the protein itself; n the n-th Contains: or Includes: block */
    const char *text;
} uniprot_name;

/* The text up to `end` (from the end of the span before) rests on this evidence. */
typedef struct uniprot_span {
    int64_t end; /* bytes into the comment's text */
    uniprot_evidence evidence;
} uniprot_span;

typedef struct uniprot_comment {
    const char *topic;         /* "FUNCTION" */
    const char *molecule;      /* "Isoform 2", "Spike protein S1"; "" = the canonical protein */
    const char *text;          /* lines joined, evidence taken out */
    uniprot_evidence evidence; /* the strongest in it */
    const uniprot_span *spans; /* [span_count], one for each tag taken out, in order */
    int64_t span_count;
} uniprot_comment;

enum uniprot_feature_flags {
    FEATURE_BEGIN_BEFORE = 1, /* "<1": starts outside the sequence */
    FEATURE_END_AFTER = 2,    /* ">9" */
    FEATURE_BEGIN_UNSURE = 4, /* "?" or "?7" */
    FEATURE_END_UNSURE = 8
};

typedef struct uniprot_feature {
    const char *key;      /* "BINDING" */
    int64_t begin, end;   /* residues, from 1, both included; −1 unknown; 0 before
                             the first, as of a methionine removed (old INIT_MET) */
    unsigned flags;       /* uniprot_feature_flags */
    const char *sequence; /* other sequence the location is in ("P12345-2"); "" = this one */
    const char *note;     /* "" = none; no closing dot */
    const char *ligand;   /* "" = none; since 2022_03 */
    const char *id;       /* "PRO_0000085632"; "" = none */
    uniprot_evidence evidence;
} uniprot_feature;

/* A DR line of GO, PDB or AlphaFoldDB. */
typedef struct uniprot_xref {
    const char *database; /* "GO" */
    const char *id;       /* "GO:0005737" */
    const char *fields;   /* "C:cytoplasm; IEA:UniProtKB-KW": the rest, no closing dot */
} uniprot_xref;

/* Owns everything it points to: buffers that grow and are used again by the next parse, which
 * makes all earlier pointers invalid. Start with {0}. Text is UTF-8, ended by NUL, never NULL after
 * a successful parse. */
typedef struct uniprot_entry {
    const char *entry_name;                  /* "ARBK2_HUMAN" */
    const char *const *accessions;           /* [accession_count ≥ 1], the primary one first */
    bool reviewed;                           /* Swiss-Prot; false TrEMBL */
    bool fragment, precursor;                /* what DE says */
    int32_t date, sequence_date, entry_date; /* yyyymmdd: first entered, sequence, entry; 0 none */
    int32_t taxon;                           /* NCBI; the first, if several; 0 none */
    int existence;                           /* PE, 1 protein level … 5 uncertain; 0 none */
    const char *organism;                    /* OS without closing dot */
    const char *name;                        /* the best full name of the protein itself; "" none */
    const uniprot_name *names;               /* [name_count] */
    const char *const *genes;        /* [gene_count] Name, Synonyms, locus and ORF names in order */
    const uniprot_comment *comments; /* [comment_count] in order */
    const uniprot_feature *features; /* [feature_count] in order */
    const uniprot_xref *xrefs;       /* [xref_count] in order */
    const char *const *keywords;     /* [keyword_count] */
    const char *sequence;            /* [length] capital letters */
    int64_t accession_count, name_count, gene_count, comment_count, feature_count, xref_count,
        keyword_count, length;
    struct uniprot_store *store; /* the buffers */
} uniprot_entry;

/* What was met and not understood. Added to, never reset, by the parser. */
typedef struct uniprot_tally {
    int64_t unknown_lines;    /* lines with a code that is not known */
    int64_t unknown_topics;   /* comments */
    int64_t unknown_features; /* features with a key that is not known */
    int64_t bad_features;     /* features with no location in the sequence: left out */
    int64_t unchecked_crc;    /* records whose SQ line is older than CRC64 */
} uniprot_tally;

/* Parses one record; checks length (ID and SQ lines) and CRC64. Local.
 * STATUS_INPUT with "FILE:LINE: entry ACCESSION: …" when ID, AC, SQ or `//` is missing, when
 * length or checksum differ, and for a byte that is NUL or no UTF-8; the entry then holds nothing
 * to be used but may be parsed into again. */
status uniprot_parse(const uniprot_record *record, uniprot_entry *entry, uniprot_tally *tally,
                     error *err);
void uniprot_entry_destroy(uniprot_entry *entry);

/* Turns a comment into prose for readers, without PubMed numbers and cross-references:
 * CATALYTIC ACTIVITY the reaction, COFACTOR the names, SUBCELLULAR LOCATION the places; the text
 * of Note= apart. Other topics and the older plain forms pass through.
 * `prose` [strlen(comment->text) + 2] receives the prose, a NUL, the note and a NUL. Returns the
 * note, which is inside prose; "" when there is none. */
const char *uniprot_comment_prose(const uniprot_comment *comment, char *prose);

/* CRC64 as UniProt writes it: polynomial x^64+x^4+x^3+x+1, reflected, from 0 (ISO 3309). */
uint64_t uniprot_crc64(const char *letters, size_t count);

#endif
