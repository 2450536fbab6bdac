# df2redis: see README.md. "make help" lists the targets.
CC      ?= gcc
PREFIX  ?= /usr/local
DESTDIR ?=
B       ?= build

CSTD     = -std=c17 -D_GNU_SOURCE
WARN     = -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
           -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wformat=2
OPT     ?= -O2 -g
WERROR  ?=
SAN     ?=
HARDEN   = -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
ifneq ($(SAN),)
HARDEN   = -fPIE
endif
ALLFLAGS = $(CSTD) $(WARN) $(WERROR) $(OPT) $(HARDEN) $(SAN) -Icommon -MMD -MP $(CFLAGS)
LINK     = $(CC) $(OPT) $(SAN) -pie $(LDFLAGS)

PROGRAMS = dfreader dfparse rediswriter dfconf
TOOLS    = standin dfstate
BINS     = $(PROGRAMS:%=$(B)/bin/%)
TOOLBINS = $(TOOLS:%=$(B)/bin/%)
SCRIPT   = $(B)/bin/df2redis
MAN1     = dfreader.1 dfparse.1 rediswriter.1 df2redis.1
MAN5     = dfrecord.5 df2redis.conf.5
MAN7     = df2redis.7

SRC_common      = $(wildcard common/*.c)
SRC_dfreader    = $(wildcard reader/*.c)
SRC_dfparse     = $(wildcard parser/*.c)
SRC_rediswriter = $(wildcard writer/*.c)
SRC_dfconf      = supervisor/dfconf.c
SRC_standin     = $(wildcard tests/standin/*.c)
SRC_dfstate     = $(wildcard tests/dfstate/*.c)

LIBS_dfreader    = -lhiredis -linih -lbsd
LIBS_dfparse     = -llz4 -lzstd -linih -lbsd -lm
LIBS_rediswriter = -lhiredis -linih -lbsd
LIBS_dfconf      = -linih -lbsd
LIBS_standin     = -llz4 -lzstd -lhiredis -lbsd -lm
LIBS_dfstate     = -lhiredis -ljansson -lz -lbsd -lm

all: $(BINS) $(SCRIPT)

help:
	@echo 'all deps deps-dev demo check install uninstall asan lint format bench fuzz coverage clean'

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c -o $@ $<

$(B)/libcommon.a: $(SRC_common:%.c=$(B)/obj/%.o)
	@rm -f $@
	ar rcs $@ $^

define program
$(B)/bin/$(1): $$(SRC_$(1):%.c=$(B)/obj/%.o) $(B)/libcommon.a
	@mkdir -p $$(@D)
	$$(LINK) -o $$@ $$(filter %.o,$$^) $(B)/libcommon.a $$(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS) $(TOOLS),$(eval $(call program,$(p))))

$(SCRIPT): supervisor/df2redis
	@mkdir -p $(@D)
	install -m 755 $< $@

tools: $(TOOLBINS)

clean:
	rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

.PHONY: all help tools clean
