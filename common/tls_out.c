/* The way out of TLS: records wait here until the socket takes them. OpenSSL must not find a record of its
 * own half written when a peer asks for new keys: it cannot answer then, and gives up the connection. */
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "tls_impl.h"

size_t tls_out_room(const struct tls_conn *c)
{
    return TLS_OUT - (c->out_end - c->out_at);
}

static int out_write(BIO *bio, const char *data, size_t n, size_t *done)
{
    struct tls_conn *c = BIO_get_data(bio);
    if (c->out == NULL)
        c->out = xmalloc(TLS_OUT);
    if (n > TLS_OUT - c->out_end && c->out_at > 0) {
        memmove(c->out, c->out + c->out_at, c->out_end - c->out_at);
        c->out_end -= c->out_at;
        c->out_at = 0;
    }
    if (n > TLS_OUT - c->out_end) /* only a peer that asks for answers and takes none gets here */
        return 0;
    memcpy(c->out + c->out_end, data, n);
    c->out_end += n;
    *done = n;
    return 1;
}

static long out_ctrl(BIO *bio, int command, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return command == BIO_CTRL_FLUSH;
}

BIO *tls_out_bio(struct tls_conn *c)
{
    static BIO_METHOD *method;
    if (method == NULL) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "df2redis");
        if (method == NULL || BIO_meth_set_write_ex(method, out_write) != 1 ||
            BIO_meth_set_ctrl(method, out_ctrl) != 1)
            return NULL;
    }
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    return bio;
}

bool tls_out_flush(struct tls_conn *c, int fd)
{
    while (c->out_at < c->out_end && c->unsendable == 0) {
        ssize_t n = send(fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL);
        if (n >= 0)
            c->out_at += (size_t)n;
        else if (errno == EAGAIN)
            return false;
        else if (errno != EINTR)
            c->unsendable = errno;
    }
    c->out_at = c->out_end = 0;
    return true;
}
