#include "assets.h"

#include <stddef.h>
#include <string.h>

/* The directory that the Makefile has put them into. */
#ifndef ASSETS
#define ASSETS "build/assets"
#endif

#define ASSET(symbol, file)                                                                                  \
    __asm__(".section .rodata\n.balign 16\n" #symbol "_begin:\n.incbin \"" ASSETS "/" file "\"\n" #symbol    \
            "_end:\n.byte 0\n.previous\n");                                                                  \
    extern const char symbol##_begin[], symbol##_end[]

ASSET(page_html, "page.html");
ASSET(page_css, "page.css");
ASSET(page_js, "page.js");
ASSET(dygraph_js, "dygraph.min.js");
ASSET(dygraph_css, "dygraph.min.css");

static const struct asset assets[] = {
    {"/", "text/html; charset=utf-8", page_html_begin, page_html_end},
    {"/page.css", "text/css; charset=utf-8", page_css_begin, page_css_end},
    {"/page.js", "text/javascript; charset=utf-8", page_js_begin, page_js_end},
    {"/dygraph.js", "text/javascript; charset=utf-8", dygraph_js_begin, dygraph_js_end},
    {"/dygraph.css", "text/css; charset=utf-8", dygraph_css_begin, dygraph_css_end},
};

const struct asset *asset_find(const char *path)
{
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)
        if (strcmp(path, assets[i].path) == 0)
            return &assets[i];
    return NULL;
}
