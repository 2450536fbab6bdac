# Unit tests: one program per test_*.c, each with the parser's objects (without its main) and the common library.
UNIT_TESTS   = $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))
UNIT_PARSER  = $(filter-out parser/main.c parser/options.c,$(SRC_dfparse))
UNIT_OBJS    = $(UNIT_PARSER:%.c=$(B)/obj/%.o) $(B)/obj/tests/unit/help.o $(B)/obj/tests/unit/canon.o
UNIT_BINS    = $(UNIT_TESTS:%=$(B)/unit/%)

$(UNIT_BINS): $(B)/unit/%: $(B)/obj/tests/unit/test_%.o $(UNIT_OBJS) $(B)/libcommon.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $(filter %.o,$^) $(B)/libcommon.a $(LIBS_dfparse) -lhiredis -ljansson -lssl -lcrypto

# What df2redis-check makes of commands, without its connections' own tests.
$(B)/unit/check_told: $(patsubst %,$(B)/obj/check/%.o,told making entry finding known piles match value_types reply)

unit: $(UNIT_BINS)
	@rc=0; for t in $(UNIT_BINS); do printf '%s: ' "$${t##*/}"; $$t || rc=1; done; exit $$rc

.PHONY: unit
.SECONDARY: $(UNIT_TESTS:%=$(B)/obj/tests/unit/test_%.o)
