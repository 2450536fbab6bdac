/* What became of a record that was offered. */
#ifndef RW_PUT_H
#define RW_PUT_H

enum put {
    PUT_DONE, /* taken */
    PUT_WAIT, /* cannot go now: offer it again after something was confirmed */
    PUT_FAIL, /* the run has failed */
};

#endif
