/* Scores as Python's repr(float) writes them: the shortest digits that read back as the same
 * double. Servers differ in how they print a score ("3.0000000000000004", "3", "1e+300"), so this
 * is the common form. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

typedef struct decimal {
    char digits[24]; /* no trailing zeros */
    int n;
    int exp10; /* of the first digit */
} decimal;

static bool reads_back(const char *text, double d)
{
    double e = strtod(text, NULL);

    return memcmp(&e, &d, sizeof(d)) == 0;
}

/* The doubles above a power of two lie twice as far apart as those below, so that the nearest
 * decimal may lie below and read back as another double, while the next one above is right. */
static bool step_up(char *text, double d)
{
    char *last = strchr(text, 'e') - 1;

    if (*last < '0' || *last > '8')
        return false;
    ++*last;
    return reads_back(text, d);
}

/* Rounds `d` (positive, finite) to `n` digits; false if they read back as another double. */
static bool round_to(double d, int n, decimal *out)
{
    char text[40], *e;

    snprintf(text, sizeof(text), "%.*e", n - 1, d);
    if (!reads_back(text, d) && !step_up(text, d))
        return false;
    e = strchr(text, 'e');
    out->exp10 = (int)strtol(e + 1, NULL, 10);
    out->n = 0;
    for (char *p = text; p < e; p++)
        if (*p != '.')
            out->digits[out->n++] = *p;
    while (out->n > 1 && out->digits[out->n - 1] == '0')
        out->n--;
    return true;
}

/* Every decimal of up to 15 digits survives the way through a normal double, so 15 digits without
 * their trailing zeros are the shortest form if they read back at all. Subnormals keep fewer; 17
 * digits always read back. */
static void shortest(double d, decimal *out)
{
    int n = d < DBL_MIN ? 1 : DBL_DIG;

    while (n <= DBL_DECIMAL_DIG && !round_to(d, n, out))
        n++;
}

/* Python prints exponents -4 to 15 in positional notation. */
static size_t layout(const decimal *d, char *out)
{
    char *p = out;

    if (d->exp10 < -4 || d->exp10 >= 16) {
        *p++ = d->digits[0];
        if (d->n > 1) {
            *p++ = '.';
            memcpy(p, d->digits + 1, (size_t)d->n - 1);
            p += d->n - 1;
        }
        return (size_t)(p - out) + (size_t)sprintf(p, "e%+03d", d->exp10);
    }
    if (d->exp10 < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = -1; i > d->exp10; i--)
            *p++ = '0';
        memcpy(p, d->digits, (size_t)d->n);
        return (size_t)(p - out) + (size_t)d->n;
    }
    for (int i = 0; i <= d->exp10 || i < d->n; i++) {
        if (i == d->exp10 + 1)
            *p++ = '.';
        *p++ = i < d->n ? d->digits[i] : '0';
    }
    if (d->n <= d->exp10 + 1) {
        *p++ = '.';
        *p++ = '0';
    }
    return (size_t)(p - out);
}

size_t py_repr(double d, char out[PYFLOAT_MAX])
{
    decimal dec = {.digits = "0", .n = 1, .exp10 = 0};
    size_t sign = 0;

    if (isnan(d)) {
        memcpy(out, "nan", 3);
        return 3;
    }
    if (signbit(d)) {
        out[sign++] = '-';
        d = -d;
    }
    if (isinf(d)) {
        memcpy(out + sign, "inf", 3);
        return sign + 3;
    }
    if (d > 0)
        shortest(d, &dec);
    return sign + layout(&dec, out + sign);
}

/* False if `text` (with a zero after it) is no number for Python's float(). */
bool py_normal_float(bytes text, char out[PYFLOAT_MAX], size_t *len)
{
    char *end;
    double d;

    /* strtod takes hexadecimal and nan(...), float() does not */
    if (!text.n || memchr(text.p, 'x', text.n) || memchr(text.p, 'X', text.n) || memchr(text.p, '(', text.n))
        return false;
    d = strtod(text.p, &end);
    if (end != text.p + text.n)
        return false;
    *len = py_repr(d, out);
    return true;
}
