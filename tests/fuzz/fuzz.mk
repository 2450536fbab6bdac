# Fuzzing with libFuzzer: one target per fuzz_*.c. FUZZ_SECONDS each; what is found lies in $(B)/fuzz/artifacts.
# FUZZ_SEED: 0 is another one in each run; the same seed tries the same inputs again, as far as the time reaches.
FUZZ_SECONDS ?= 60
FUZZ_SEED    ?= 0
FUZZCC       ?= clang
CAPTURES     ?= tests/fixtures/captures
FUZZ_TARGETS  = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BINS     = $(FUZZ_TARGETS:%=$(B)/fuzz/%)
FUZZ_SAN      = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_LINK     = -fsanitize=fuzzer,address,undefined
FUZZ_FLAGS    = $(CSTD) $(WARN) $(WERROR) -O1 -g -fno-omit-frame-pointer $(FUZZ_SAN) -Icommon -MMD -MP
FUZZ_SRC      = $(filter-out common/tls%,$(SRC_common)) $(filter-out parser/main.c parser/options.c,$(SRC_dfparse)) tests/unit/canon.c \
                reader/file/file_kind.c reader/resume.c reader/sessinfo.c tests/fuzz/fuzz.c \
                writer/conn/reply.c writer/target/fits.c writer/engine/request.c writer/target/slotmap.c writer/words.c
FUZZ_OBJS     = $(FUZZ_SRC:%.c=$(B)/fuzz/obj/%.o)
FUZZ_HEX      = $(wildcard tests/fuzz/seeds/*.hex)
FUZZ_RDB      = $(wildcard tests/fixtures/rdb/*.hex)

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZCC) $(FUZZ_FLAGS) -c -o $@ $<

$(FUZZ_BINS): $(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/fuzz_%.o $(FUZZ_OBJS)
	$(FUZZCC) $(FUZZ_LINK) -g -o $@ $^ $(LIBS_dfparse) -lhiredis -ljansson

$(B)/fuzz/seeds: $(B)/fuzz/obj/tests/fuzz/seeds.o $(B)/fuzz/obj/tests/unit/help.o $(FUZZ_OBJS)
	$(FUZZCC) $(FUZZ_SAN) -g -o $@ $^ $(LIBS_dfparse) -lhiredis -ljansson

$(B)/fuzz/corpus/.made: $(B)/fuzz/seeds $(FUZZ_HEX) $(FUZZ_RDB)
	$(B)/fuzz/seeds $(@D) $(FUZZ_HEX) -- $(FUZZ_RDB) -- $(wildcard $(CAPTURES)/*/wire/0[1-9].s2c)
	@touch $@

fuzz-build: $(FUZZ_BINS) $(B)/fuzz/corpus/.made

# libFuzzer keeps its own copy of stderr: -close_fd_mask only silences the parser's log lines.
fuzz: fuzz-build
	@mkdir -p $(B)/fuzz/artifacts $(FUZZ_TARGETS:%=$(B)/fuzz/corpus/%)
	@passed=0; failed=0; for t in $(FUZZ_TARGETS); do \
	    if nice $(B)/fuzz/$$t -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=512 -max_len=8192 \
	        -close_fd_mask=2 -artifact_prefix=$(B)/fuzz/artifacts/$$t- $(B)/fuzz/corpus/$$t \
	        >$(B)/fuzz/$$t.log 2>&1; \
	    then passed=$$((passed + 1)); echo "$$t: $$(tail -n 1 $(B)/fuzz/$$t.log)"; \
	    else failed=$$((failed + 1)); echo "$$t: FAILED"; tail -n 40 $(B)/fuzz/$$t.log; fi; \
	done; echo "$$passed passed, $$failed failed"; test $$failed -eq 0

# Which lines of the parser the corpora reach: profiles of a build of its own, each input run once.
fuzz-coverage:
	$(MAKE) B=$(B)/fuzzcov FUZZ_SAN='-fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping' \
	    FUZZ_LINK='-fsanitize=fuzzer -fprofile-instr-generate' fuzz-build
	@rm -f $(B)/fuzzcov/*.profraw
	@for t in $(FUZZ_TARGETS); do LLVM_PROFILE_FILE=$(B)/fuzzcov/$$t.profraw $(B)/fuzzcov/fuzz/$$t -runs=0 -max_len=8192 \
	    -close_fd_mask=2 $(B)/fuzzcov/fuzz/corpus/$$t $(if $(wildcard $(B)/fuzz/corpus),$(B)/fuzz/corpus/$$t) \
	    >$(B)/fuzzcov/$$t.log 2>&1 || exit 1; done
	llvm-profdata merge -o $(B)/fuzzcov/all.profdata $(B)/fuzzcov/*.profraw
	llvm-cov report $(firstword $(FUZZ_TARGETS:%=$(B)/fuzzcov/fuzz/%)) $(FUZZ_TARGETS:%=-object $(B)/fuzzcov/fuzz/%) \
	    -instr-profile $(B)/fuzzcov/all.profdata -ignore-filename-regex=tests/

-include $(shell find $(B)/fuzz/obj -name '*.d' 2>/dev/null)

.PHONY: fuzz-build fuzz fuzz-coverage
.SECONDARY: $(FUZZ_TARGETS:%=$(B)/fuzz/obj/tests/fuzz/fuzz_%.o)
