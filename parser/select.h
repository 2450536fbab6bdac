/* Which keys go through, and under which names and in which databases. dfparse(1), SELECTING AND RENAMING. */
#ifndef DFP_SELECT_H
#define DFP_SELECT_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "resp.h"

#define SELECT_RULES 256
#define SELECT_DBS   64

enum rule_kind { RULE_GLOB, RULE_PREFIX, RULE_REGEX, RULE_TYPE, RULE_DB };

struct rule {
    enum rule_kind kind;
    bool exclude;
    char *text; /* glob, prefix */
    size_t n;
    regex_t regex;
    uint32_t number; /* value class or database */
};

struct select {
    bool active; /* anything of this is used */
    bool keys;   /* keys may be left out */
    bool types;  /* by their types */
    struct rule rule[SELECT_RULES];
    unsigned nrules;
    struct {
        char *from, *to;
    } rename[SELECT_RULES];
    unsigned nrenames;
    struct {
        uint32_t from, to;
    } db[SELECT_DBS];
    unsigned ndbs;
    bool all_dbs; /* every other database becomes rest_db */
    uint32_t rest_db;
};

/* Take over one option: "GLOB", "glob:G", "prefix:P", "regex:R", "type:T", "db:N"; "OLD=NEW"; "A=B[,C=D…]" (A
 * may be *). NULL, or what is wrong with it. */
const char *select_add_rule(struct select *s, const char *text, bool exclude);
const char *select_add_rename(struct select *s, const char *text);
const char *select_add_dbs(struct select *s, const char *text);

/* Does a key of database db (as the source has it) and value class (0: not known) go through? One whose new
 * name is df2redis's own (ours.h) does not. */
bool select_passes(const struct select *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db);

/* Is it left out for its new name only? */
bool select_reserved(const struct select *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db);

/* Does anything of a database go through? */
bool select_db_passes(const struct select *s, uint32_t db);

uint32_t select_db(const struct select *s, uint32_t db);

/* Are there others that, as far as the options tell, become the same database? */
bool select_db_shared(const struct select *s, uint32_t db);

/* A cluster is to get databases, a list as "0,1,3": NULL, or which of them have no place in its database 0,
 * as text for a message, in out. s may be NULL. What only the names of keys tell is left open. */
const char *select_dbs_fit(const struct select *s, const char *databases, char *out, size_t cap);

/* The key's new name: itself, or made in b, to which it is appended; b must have room for n + select_growth()
 * bytes. */
struct slice select_name(const struct select *s, const uint8_t *key, size_t n, struct buf *b);

/* Most bytes that renaming adds to a key. */
size_t select_growth(const struct select *s);

/* Glob as Redis' KEYS has it: * ? [a-z] [^a] \\x. */
bool glob_match(const uint8_t *p, size_t pn, const uint8_t *s, size_t sn);

#endif
