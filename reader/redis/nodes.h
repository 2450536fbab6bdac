/* CLUSTER NODES, as a node of a Redis cluster gives it. A pure function of the text. */
#ifndef READER_NODES_H
#define READER_NODES_H

#include <stdbool.h>

#include "slotset.h"

struct node_line {
    char id[44];
    char host[256]; /* "": the node does not know it */
    char port[8];
    bool myself, master;
    bool away; /* it failed, or is not part of the cluster yet, or has no address */
    struct slotset slots;
};

/* Take the line at *text, which moves behind it. False: there is none, or it is malformed: *text is NULL
 * then.
 */
bool nodes_next(const char **text, struct node_line *n);

#endif
