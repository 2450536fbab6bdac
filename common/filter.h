/* Which keys go through, and under which names and in which databases. dfparse(1), SELECTING AND RENAMING. */
#ifndef DF_FILTER_H
#define DF_FILTER_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "renames.h"
#include "resp.h"

#define FILTER_RULES 256
#define FILTER_DBS   64

enum rule_kind { RULE_GLOB, RULE_PREFIX, RULE_REGEX, RULE_TYPE, RULE_DB };

struct rule {
    enum rule_kind kind;
    bool exclude;
    char *text; /* glob, prefix */
    size_t n;
    regex_t regex;
    uint32_t number; /* value class or database */
};

struct filter {
    bool active; /* anything of this is used */
    bool keys;   /* keys may be left out */
    bool types;  /* by their types */
    struct rule rule[FILTER_RULES];
    unsigned nrules;
    struct renames renames;
    struct {
        uint32_t from, to;
    } db[FILTER_DBS];
    unsigned ndbs;
    bool all_dbs; /* every other database becomes rest_db */
    uint32_t rest_db;
};

/* Take over one option: "GLOB", "glob:G", "prefix:P", "regex:R", "type:T", "db:N"; "OLD=NEW"; "A=B[,C=D…]" (A
 * may be *). NULL, or what is wrong with it. */
const char *filter_add_rule(struct filter *s, const char *text, bool exclude);
const char *filter_add_rename(struct filter *s, const char *text);
const char *filter_add_dbs(struct filter *s, const char *text);

/* Does a key of database db (as the source has it) and value class (0: not known) go through? One whose new
 * name is df2redis's own (ours.h) does not. */
bool filter_passes(const struct filter *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db);

/* Is it left out for its new name only? */
bool filter_reserved(const struct filter *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db);

/* Are keys of one database left out, or renamed? */
bool filter_by_name(const struct filter *s);

/* Does anything of a database go through? */
bool filter_db_passes(const struct filter *s, uint32_t db);

uint32_t filter_db(const struct filter *s, uint32_t db);

/* A database of the source that becomes this one. False: none. */
bool filter_db_back(const struct filter *s, uint32_t db, uint32_t *from);

/* Are there others that, as far as the options tell, become the same database? */
bool filter_db_shared(const struct filter *s, uint32_t db);

/* A cluster is to get databases, a list as "0,1,3": NULL, or which of them have no place in its database 0,
 * as text for a message, in out. s may be NULL. What only the names of keys tell is left open. */
const char *filter_dbs_fit(const struct filter *s, const char *databases, char *out, size_t cap);

/* The key's new name: itself, or made in b, to which it is appended; b must have room for n + filter_growth()
 * bytes. */
struct slice filter_name(const struct filter *s, const uint8_t *key, size_t n, struct buf *b);

/* Another name of the source may become the same one, and that is the one which counts (df2redis(7), A
 * cluster as the source). */
bool filter_name_taken(const struct filter *s, const uint8_t *key, size_t n, uint32_t db,
                       struct buf scratch[2]);

/* The name that a key of the target was made from, in database db of the source: into out. False: none. */
bool filter_name_back(const struct filter *s, const uint8_t *key, size_t n, uint32_t db, struct buf *out);

/* Most bytes that renaming adds to a key. */
size_t filter_growth(const struct filter *s);

/* Glob as Redis' KEYS has it: * ? [a-z] [^a] \\x. */
bool glob_match(const uint8_t *p, size_t pn, const uint8_t *s, size_t sn);

/* A key or a command whose keys have new names: these, and the arguments that they stand in. */
struct renamed {
    struct buf names, argv;
    uint8_t db[20]; /* an argument that is a database */
};

#endif
