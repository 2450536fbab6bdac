# Random models of what decides without connections: they run the shipped objects against a simulated world.
MODEL_BINS = $(B)/unit/model_cluster

$(B)/unit/model_cluster: $(B)/obj/tests/model/cluster.o $(B)/obj/reader/redis/handover.o $(B)/obj/parser/reread/holding.o $(B)/libcommon.a
	@mkdir -p $(@D)
	$(LINK) -o $@ $(filter %.o,$^) $(B)/libcommon.a -lbsd

# Slots on their way between the masters of a cluster: make model [MODEL=HISTORIES] [SEED=S].
model: $(MODEL_BINS)
	$(B)/unit/model_cluster -n $(or $(MODEL),10000) $(SEED:%=-s %)

.PHONY: model
