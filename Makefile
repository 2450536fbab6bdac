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

PROGRAMS = dfreader dfparse rediswriter df2redis-check df2redis-monitor
HELPERS  = dfconf dfnotify dflog dfhold
TOOLS    = acked standin dfstate sink slots delay mkrecords probe dfcrash fakeredis masters
BINS     = $(PROGRAMS:%=$(B)/bin/%)
TOOLBINS = $(TOOLS:%=$(B)/bin/%)
SCRIPT   = $(B)/bin/df2redis
COMPLETE = df2redis dfreader dfparse rediswriter df2redis-check df2redis-monitor
PARTS    = $(notdir $(wildcard supervisor/lib/*))
LIBEXEC  = $(B)/libexec/df2redis
MAN1     = dfreader.1 dfparse.1 rediswriter.1 df2redis-check.1 df2redis-monitor.1 df2redis.1
MAN5     = dfrecord.5 df2redis.conf.5 rdb.5
MAN7     = df2redis.7 df2redis-messages.7 df2redis-runbook.7 dragonfly-replication.7 psync.7

SRC_common      = $(wildcard common/*.c)
SRC_dfreader    = $(wildcard reader/*.c reader/*/*.c)
SRC_dfparse     = $(wildcard parser/*.c parser/*/*.c)
SRC_rediswriter = $(wildcard writer/*.c writer/*/*.c)
SRC_df2redis-check = $(wildcard check/*.c)
SRC_df2redis-monitor = $(wildcard monitor/*.c)
SRC_dfhold      = $(wildcard check/hold/*.c) check/end.c check/link.c check/reply.c check/side.c check/side_ask.c check/side_info.c check/side_open.c
SRC_dfconf      = supervisor/dfconf.c
SRC_dfnotify    = supervisor/dfnotify.c
SRC_dflog       = supervisor/dflog.c
SRC_standin     = $(wildcard tests/standin/*.c) tests/crash/traffic.c
SRC_dfstate     = $(wildcard tests/dfstate/*.c)
SRC_sink        = tests/bench/sink.c
SRC_delay       = tests/bench/delay.c
SRC_acked       = tests/acked/main.c
SRC_slots       = tests/bench/slots.c
SRC_masters     = tests/many/masters.c
SRC_mkrecords   = $(wildcard tests/mkrecords/*.c)
SRC_probe       = tests/probe/main.c
SRC_dfcrash     = $(wildcard tests/crash/*.c)
SRC_fakeredis   = $(wildcard tests/fakeserver/*.c)

LIBS_dfreader    = -lhiredis -linih -lssl -lcrypto -lbsd
LIBS_dfparse     = -llz4 -lzstd -linih -lbsd -lm
LIBS_rediswriter = -lhiredis -linih -lssl -lcrypto -lbsd
LIBS_df2redis-check = -linih -lssl -lcrypto -lbsd
LIBS_df2redis-monitor = -lmicrohttpd -ljansson -linih -lbsd -lm
LIBS_dfconf      = -linih -lbsd
LIBS_dfnotify    =
LIBS_dflog       = -lbsd
LIBS_dfhold      = -linih -lssl -lcrypto -lbsd
LIBS_standin     = -llz4 -lzstd -lhiredis -ljansson -lbsd -lm
LIBS_sink        =
LIBS_delay       =
LIBS_acked       = -lhiredis
LIBS_slots       =
LIBS_masters     = -lbsd
LIBS_mkrecords   = -lbsd
LIBS_probe       = -lbsd
LIBS_dfcrash     = -lhiredis
LIBS_fakeredis   = -lbsd
LIBS_dfstate     = -lhiredis -ljansson -lz -lbsd -lm

all: $(BINS) $(HELPERS:%=$(LIBEXEC)/%) $(SCRIPT) $(PARTS:%=$(LIBEXEC)/%)

help:
	@echo 'all tools deps deps-dev docs demo check check-run unit check-versions check-pairs crash cutover model asan clang fuzz fuzz-build fuzz-coverage' \
		'coverage lint format bench dist sbom deb container-check install uninstall clean'

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c -o $@ $<

$(B)/libcommon.a: $(SRC_common:%.c=$(B)/obj/%.o)
	@rm -f $@
	ar rcs $@ $^

define program
$(1)/$(2): $$(SRC_$(2):%.c=$(B)/obj/%.o) $(B)/libcommon.a
	@mkdir -p $$(@D)
	$$(LINK) -o $$@ $$(filter %.o,$$^) $(B)/libcommon.a $$(LIBS_$(2))
endef
$(foreach p,$(PROGRAMS) $(TOOLS),$(eval $(call program,$(B)/bin,$(p))))
$(foreach p,$(HELPERS),$(eval $(call program,$(LIBEXEC),$(p))))

# The page of df2redis-monitor, which is a part of the program.
DYGRAPHS ?= /usr/share/javascript/dygraphs
ASSETS    = $(B)/assets

$(ASSETS)/page.%: monitor/page.%
	@mkdir -p $(@D)
	install -m 644 $< $@

# Their source maps are not there to be asked for.
$(ASSETS)/dygraph.min.%: $(DYGRAPHS)/dygraph.min.%
	@mkdir -p $(@D)
	sed 's|/[/*]# sourceMappingURL.*||' $< >$@

$(B)/obj/monitor/assets.o: CFLAGS += -DASSETS='"$(ASSETS)"'
$(B)/obj/monitor/assets.o: $(addprefix $(ASSETS)/,page.html page.css page.js dygraph.min.js dygraph.min.css)

$(SCRIPT): supervisor/df2redis
	@mkdir -p $(@D)
	install -m 755 $< $@

$(LIBEXEC)/%: supervisor/lib/%
	@mkdir -p $(@D)
	install -m 644 $< $@

tools: $(TOOLBINS) $(B)/late_signal.so

$(B)/late_signal.so: tests/late/signal.c
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) $(WERROR) $(OPT) -fPIC -shared -o $@ $<

# ---- packages ----

DEPS     = gcc make libc6-dev libhiredis-dev libbsd-dev libinih-dev liblz4-dev libzstd-dev libxxhash-dev libssl-dev \
           libjansson-dev libmicrohttpd-dev libjs-dygraphs zlib1g-dev bats curl parallel perl redis-server redis-tools openssl socat procps util-linux
DEPS_DEB = build-essential debhelper lintian jq
DEPS_DEV = clang libclang-rt-14-dev llvm clang-format clang-tidy cppcheck shellcheck mandoc lcov linux-perf prometheus chromium

deps:
	@tests/install-packages $(DEPS)

deps-dev: deps
	@tests/install-packages $(DEPS_DEV)

# ---- tests ----

-include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk
-include tests/model/model.mk

STRICT = WERROR=-Werror

# Nothing is printed behind the closing line of the tests.
SUBMAKE = +@$(MAKE) --no-print-directory

# Everything on a machine that has only Debian's base tools, git and make. "make check-run" alone installs nothing.
check: deps
	$(SUBMAKE) $(STRICT) check-run

# Suites side by side, where GNU parallel is there: most of their time they wait, so more of them than cores.
JOBS    ?= 3
PARALLEL = $(if $(shell parallel --version 2>/dev/null | grep 'GNU parallel'),--jobs $(JOBS) --no-parallelize-within-files)

check-run: all tools $(UNIT_BINS) $(MODEL_BINS)
	@DF2REDIS_BUILD=$(abspath $(B)) tests/run $(if $(SUITES),,$(UNIT_BINS) $(MODEL_BINS)) -- \
	    $(if $(filter-out 1,$(JOBS)),$(PARALLEL)) $(BATSFLAGS) $(or $(SUITES),tests/bats)

# The same suites against other servers: make check-versions SERVERS="/path/redis-server /path/valkey-server".
check-versions: all tools
	DF2REDIS_BUILD=$(abspath $(B)) tests/check-versions $(SERVERS)

# Every shape of source and target with redis-server at both ends, then with each of these as the source, and as the target:
# make check-pairs SERVERS="/path/redis-server /path/valkey-server".
check-pairs: all tools
	DF2REDIS_BUILD=$(abspath $(B)) tests/check-pairs $(SERVERS)

# Faults at random moments: make crash [CRASHES=N] [SEED=S] [DRAGONFLY=path] [CRASH_ARGS='--redis | --redis --source-cluster | --cluster | --exactly-once | --service | --omit | --distance MS ...'], see
# dfcrash --help.
crash: all tools
	$(B)/bin/dfcrash --crashes $(or $(CRASHES),100) $(SEED:%=--seed %) $(DRAGONFLY:%=--dragonfly %) $(CRASH_ARGS)

# Clients that count what was acknowledged are moved so many times from a Redis, a cluster, and DRAGONFLY.
cutover: all tools
	DF2REDIS_BUILD=$(abspath $(B)) DF2REDIS_CUTOVERS=$(or $(CUTOVERS),50) $(DRAGONFLY:%=DF2REDIS_DRAGONFLY=%) \
	    bats --filter 'is moved' tests/bats/cutover.bats

asan:
	$(SUBMAKE) B=$(B)/asan OPT='-O1 -g' \
	    SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' $(STRICT) check-run

clang:
	$(MAKE) B=$(B)/clang CC=clang $(STRICT) all tools

demo: deps
	$(MAKE) all tools
	DF2REDIS_BUILD=$(abspath $(B)) tests/demo

bench: all tools
	DF2REDIS_BUILD=$(abspath $(B)) BENCH_SHORT=$(BENCH_SHORT) tests/bench/run $(BENCH)

coverage:
	$(MAKE) B=$(B)/coverage OPT='-O0 -g --coverage' HARDEN=-fPIE check-run
	lcov -q -c -d $(B)/coverage/obj -o $(B)/coverage/all.info
	lcov -q -r $(B)/coverage/all.info '*/tests/*' '/usr/*' -o $(B)/coverage/df2redis.info
	lcov -l $(B)/coverage/df2redis.info
	genhtml -q -o $(B)/coverage/html $(B)/coverage/df2redis.info
	@echo 'see $(B)/coverage/html/index.html'

# ---- documentation ----

# The man pages as HTML. mandoc links the pages that lie beside it, and others to those of Debian. It takes a hyphen in .Sx for a
# blank.
PAGES = $(MAN1) $(MAN5) $(MAN7)

$(B)/docs/%.html: man/%
	@mkdir -p $(@D)
	cd man && mandoc -T html -O 'style=docs.css,toc,man=%N.%S.html;https://manpages.debian.org/%N.%S' $* >$(abspath $@).new
	sed 's|^<body>$$|&<nav><a href="index.html">df2redis</a></nav>|; s|^<html>$$|<html lang="en">|; s|"#Append_only_files"|"#Append-only_files"|' \
	    $@.new >$@
	@rm $@.new

$(B)/docs/index.html: man/index.html common/version.h
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< >$@

$(B)/docs/docs.css: man/docs.css
	@mkdir -p $(@D)
	install -m 644 $< $@

docs: docs-tools
	$(SUBMAKE) docs-pages

docs-tools:
	@tests/install-packages mandoc

docs-pages: $(addprefix $(B)/docs/,$(PAGES:%=%.html) index.html docs.css)
	@echo $(B)/docs/index.html

# ---- style ----

SOURCES = $(SRC_common) $(SRC_dfreader) $(SRC_dfparse) $(SRC_rediswriter) $(SRC_df2redis-check) $(SRC_df2redis-monitor) $(SRC_dfconf) $(SRC_dfnotify) $(SRC_dflog) $(wildcard check/hold/*.c)
SCRIPTS = supervisor/df2redis supervisor/completion.bash tests/install-packages tests/demo tests/deps tests/run tests/check-versions tests/check-pairs tests/named-files tests/sbom tests/package tests/container debian/postinst debian/postrm tests/bench/run tests/bench/far.bash tests/bench/psync.bash tests/bench/export.bash tests/bench/scan.bash tests/bench/check.bash tests/peers/run tests/many/run .ci/run .ci/steps $(wildcard tests/bats/*.bash) \
          $(wildcard examples/*.sh)

QUEUE_H = $(shell printf '\043include <sys/queue.h>\n' | $(CC) -M -xc - | tr ' ' '\n' | grep 'sys/queue.h')

# The last step: at 80 columns no line of a page is longer, and no text behind a macro was set as options.
FORMATTED = $(SOURCES) $(wildcard */*.h check/*/*.h reader/*/*.h parser/*/*.h writer/*/*.h) $(wildcard tests/*/*.c tests/*/*.h)

lint: all
	clang-format --dry-run -Werror $(FORMATTED)
	cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=varFuncNullUB --suppress=ctuuninitvar --suppress=uninitvar \
	    --error-exitcode=1 --include=$(QUEUE_H) -D_GNU_SOURCE -Icommon $(SOURCES)
	printf '%s\n' $(SOURCES) | xargs -P 2 -n 6 sh -c "clang-tidy --quiet --warnings-as-errors='*' \"\$$@\" -- $(CSTD) -Icommon" sh
	shellcheck -x -a $(SCRIPTS)
	tests/deps $(B)/obj common reader parser writer check monitor supervisor
	tests/named-files
	for page in $(PAGES); do mandoc -T lint -W warning man/$$page || exit 1; done
	for page in $(PAGES); do \
	    ! mandoc -T utf8 -O width=78 man/$$page | sed 's/.\x08//g' | LC_ALL=C.UTF-8 grep -nE '^.{80}|( -[a-z]+){4}' || exit 1; done

format:
	clang-format -i $(FORMATTED)

# ---- release ----

VERSION  := $(shell sed -n 's/.*DF2REDIS_VERSION "\(.*\)"/\1/p' common/version.h)
ARCHIVE   = $(B)/df2redis-$(VERSION).tar.gz

# What is committed: the same bytes wherever and whenever it is made.
dist:
	@mkdir -p $(B)
	git archive --prefix=df2redis-$(VERSION)/ HEAD | gzip -n9 >$(ARCHIVE)
	cd $(B) && sha256sum $(notdir $(ARCHIVE)) | tee $(notdir $(ARCHIVE)).sha256

# CycloneDX, from the files that were built and the Debian packages of the libraries that they load.
sbom: all
	@tests/install-packages jq
	tests/sbom $(VERSION) $(BINS) $(HELPERS:%=$(LIBEXEC)/%) >$(B)/df2redis-$(VERSION).cdx.json
	@echo $(B)/df2redis-$(VERSION).cdx.json

# It is not for an upload to Debian, which would need a maintainer with an address and a bug that it closes.
NOT_UPLOADED = bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs

# The Debian package of what is committed, in $(B)/deb.
deb: deps dist
	@tests/install-packages $(DEPS_DEB)
	rm -rf $(B)/deb && mkdir -p $(B)/deb && tar -xzf $(ARCHIVE) -C $(B)/deb
	cp $(ARCHIVE) $(B)/deb/df2redis_$(VERSION).orig.tar.gz
	cd $(B)/deb/df2redis-$(VERSION) && dpkg-buildpackage -us -uc -b
	lintian --allow-root --fail-on error,warning --info --suppress-tags $(NOT_UPLOADED) $(B)/deb/*.changes
	@ls $(B)/deb/*.deb

# The steps of the container file without an engine, and the Kubernetes examples against their schema: as root, not in CI.
container-check:
	tests/container
	kubernetes-validate --strict examples/kubernetes/*.yaml # of PyPI

# ---- installation ----

# DESTDIR, PREFIX and these may be given; sysconfdir stays /etc with the prefix /usr, too.
SHARE    ?= $(PREFIX)/share
UNITDIR  ?= $(PREFIX)/lib/systemd/system
DOCDIR   ?= $(SHARE)/doc/df2redis
USERDIR  ?= $(PREFIX)/lib/sysusers.d
ZSHDIR   ?= $(SHARE)/zsh/site-functions
UNITS     = examples/df2redis@.service examples/monitoring/df2redis-monitor.service
DOCS      = README.md CHANGELOG.md
EXAMPLES  = $(filter-out %.service %.sysusers %.sh,$(wildcard examples/*.*))
MONITORING = $(filter-out %.service,$(wildcard examples/monitoring/*.*))

install: all
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(PREFIX)/libexec/df2redis $(UNITDIR) $(USERDIR) $(DOCDIR)/examples/monitoring $(ZSHDIR) \
	    $(SHARE)/bash-completion/completions $(SHARE)/fish/vendor_completions.d $(SHARE)/man/man1 $(SHARE)/man/man5 $(SHARE)/man/man7)
	install -m 755 $(BINS) $(SCRIPT) $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(HELPERS:%=$(LIBEXEC)/%) $(DESTDIR)$(PREFIX)/libexec/df2redis
	install -m 644 $(PARTS:%=$(LIBEXEC)/%) $(DESTDIR)$(PREFIX)/libexec/df2redis
	install -m 644 supervisor/completion.bash $(DESTDIR)$(SHARE)/bash-completion/completions/df2redis
	for name in $(filter-out df2redis,$(COMPLETE)); do \
	    ln -sf df2redis $(DESTDIR)$(SHARE)/bash-completion/completions/$$name || exit 1; done
	install -m 644 supervisor/completion.zsh $(DESTDIR)$(ZSHDIR)/_df2redis
	install -m 644 supervisor/completion.fish $(DESTDIR)$(SHARE)/fish/vendor_completions.d/df2redis.fish
	for name in $(filter-out df2redis,$(COMPLETE)); do \
	    ln -sf df2redis.fish $(DESTDIR)$(SHARE)/fish/vendor_completions.d/$$name.fish || exit 1; done
	for unit in $(UNITS); do \
	    sed 's|/usr/local/bin/|$(PREFIX)/bin/|' $$unit >$(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; done
	install -m 644 examples/df2redis.sysusers $(DESTDIR)$(USERDIR)/df2redis.conf
	install -m 644 $(DOCS) $(DESTDIR)$(DOCDIR)
	install -m 644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples
	install -m 755 $(wildcard examples/*.sh) $(DESTDIR)$(DOCDIR)/examples
	install -m 644 $(MONITORING) $(DESTDIR)$(DOCDIR)/examples/monitoring
	sed -i 's|/usr/local/bin/|$(PREFIX)/bin/|' $(DESTDIR)$(DOCDIR)/examples/monitoring/df2redis-monitor-control.conf
	install -m 644 $(MAN1:%=man/%) $(DESTDIR)$(SHARE)/man/man1
	install -m 644 $(MAN5:%=man/%) $(DESTDIR)$(SHARE)/man/man5
	install -m 644 $(MAN7:%=man/%) $(DESTDIR)$(SHARE)/man/man7

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGRAMS) df2redis)
	rm -rf $(DESTDIR)$(PREFIX)/libexec/df2redis $(DESTDIR)$(DOCDIR)
	rm -f $(addprefix $(DESTDIR)$(SHARE)/bash-completion/completions/,$(COMPLETE)) $(DESTDIR)$(ZSHDIR)/_df2redis \
	    $(COMPLETE:%=$(DESTDIR)$(SHARE)/fish/vendor_completions.d/%.fish) $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS))) \
	    $(DESTDIR)$(USERDIR)/df2redis.conf
	rm -f $(addprefix $(DESTDIR)$(SHARE)/man/man1/,$(MAN1)) $(addprefix $(DESTDIR)$(SHARE)/man/man5/,$(MAN5)) \
	    $(addprefix $(DESTDIR)$(SHARE)/man/man7/,$(MAN7))

clean:
	rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

.PHONY: all help tools deps deps-dev docs docs-tools docs-pages check check-run check-versions check-pairs crash cutover asan clang demo bench coverage lint format dist sbom deb container-check install uninstall clean
