/* df2redis-monitor: the tasks of df2redis over HTTP. df2redis-monitor(1). */
#include <stdio.h>

#include "address.h"
#include "certificate.h"
#include "exits.h"
#include "fatal.h"
#include "http.h"
#include "io.h"
#include "log.h"
#include "login.h"
#include "loop.h"
#include "options.h"
#include "tasks.h"

#define LOOK_MS 1000 /* between two looks at the run directories */

static void serve(struct http *h, struct tasks *t)
{
    uint64_t next = 0;
    while (signals_seen() == 0) {
        uint64_t now = mono_us();
        if (now >= next) {
            tasks_look(t, (int64_t)(now_us() / 1000000));
            next = now + LOOK_MS * 1000;
        }
        http_turn(h, (int)((next - now) / 1000) + 1);
    }
}

/* A file that was named and cannot be used ends us. */
static char *load(const char *file)
{
    char why[400] = "";
    char *text = file != NULL ? certificate_load(file, why, sizeof why) : NULL;
    if (file != NULL && text == NULL)
        fatal(EXIT_CANNOT, "%s", why);
    return text;
}

static struct login *open_login(const char *file)
{
    char why[400] = "";
    struct login *l = file != NULL ? login_open(file, why, sizeof why) : NULL;
    if (file != NULL && l == NULL)
        fatal(EXIT_CANNOT, "%s", why);
    return l;
}

static int listen_at(struct address *a)
{
    char why[500];
    int fd = address_listen(a, why, sizeof why);
    if (fd < 0)
        fatal(a->usage ? EXIT_USAGE : EXIT_CANNOT, "%s", why);
    return fd;
}

/* By which names we may be called: where we listen is one. */
static void add_name(struct options *o, const char *name)
{
    o->host[o->nhosts++] = name;
}

int main(int argc, char **argv)
{
    struct options o;
    struct tasks t;
    options_parse(&o, argc, argv);
    log_set_form(o.log_form);
    log_init("df2redis-monitor", o.verbose == 0 ? LOG_WARN : o.verbose == 1 ? LOG_INFO : LOG_DEBUG);
    signals_init();
    raise_limits();
    struct login *login = open_login(o.token_file);
    struct address a = {.text = o.listen, .safe = o.tls_cert != NULL && login != NULL};
    char *cert = load(o.tls_cert), *key = load(o.tls_key);
    struct http_setup setup = {.fd = listen_at(&a), .cert = cert, .key = key, .files = o.files, .tasks = &t};
    add_name(&o, a.host);
    setup.guard = (struct guard){
        .name = o.host, .names = o.nhosts, .tls = cert != NULL, .open = a.loopback, .login = login};
    tasks_init(&t, o.base, o.nbases, o.kept);
    struct http *h = http_open(&setup);
    certificate_free(cert);
    certificate_free(key);
    if (h == NULL)
        return EXIT_CANNOT;
    log_note(NO_FLOW, "event=listening port=%u", a.port);
    serve(h, &t);
    http_close(h);
    tasks_free(&t);
    login_free(login);
    return EXIT_DONE;
}
