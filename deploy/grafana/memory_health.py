"""The dashboard Memory health: does the memory hold what it should, and does it find it?"""

from panels import MEMORY, WINDOW, Panel, Row, dashboard, quantile, rate

TRAINED = "sum by (memory) (rate(evoke_top1_total{%s}%s))" % (MEMORY, WINDOW)
WROTE = "sum by (memory) (rate(evoke_observations_total{%s}%s))" % (MEMORY, WINDOW)


def outcomes(pattern: str) -> str:
    return 'sum by (memory) (rate(evoke_observations_total{%s,outcome=~"%s"}%s))' % (MEMORY, pattern, WINDOW)


HOLDS = Row("What it holds", [
    Panel("Occupancy", "Live slots of all slots. Full is the normal state of a life-long memory: from then on each new "
          "slot costs the oldest one.", "percentunit",
          [("sum by (memory) (evoke_slots_live{%s}) / sum by (memory) (evoke_slots_capacity{%s})" % (MEMORY, MEMORY),
            "{{memory}}")], most=1),
    Panel("Distinct values", "Values with at least one slot: what a query can answer at all.", "none",
          [("sum by (memory) (evoke_values_distinct{%s})" % MEMORY, "{{memory}}")]),
    Panel("Slots of a value", "Mean. Many: few values crowd the memory. Near 1: each was seen once.", "none",
          [("sum by (memory) (evoke_slots_live{%s}) / sum by (memory) (evoke_values_distinct{%s} > 0)"
            % (MEMORY, MEMORY), "{{memory}}")]),
])

WRITES = Row("What becomes of observations", [
    Panel("Outcomes", "hit: the nearest key had the value and was averaged; merged and folded: joined another row of "
          "its batch; miss_free: a free slot; miss_evict: the place of an old one; dropped: the batch allows no more.",
          "ops", [(rate("evoke_observations_total", "memory, outcome"), "{{memory}} {{outcome}}")], stack=True),
    Panel("Hit ratio", "Observations that met their own value, of all. High: little is new, or the embedding "
          "separates well. Falling: drift of the model, or of the data.", "percentunit",
          [("%s / %s" % (outcomes("hit|merged|folded"), WROTE), "hit {{memory}}"),
           ("%s / %s" % (outcomes("miss_.*"), WROTE), "miss {{memory}}")], most=1),
    Panel("Evicted", "Slots that gave way to new ones, a second.", "ops", [(outcomes("miss_evict"), "{{memory}}")]),
])

AGES = Row("How long it remembers", [
    Panel("Age at eviction", "In steps: how long a slot lives that is not met again. When it falls fast, the "
          "memory forgets what it still needs: capacity is too small, or something floods it.", "none",
          [(quantile(q, "evoke_evicted_age_steps"), "p%g {{memory}}" % (100 * q)) for q in (0.1, 0.5, 0.9)], log=True),
    Panel("Ages at eviction", "How many slots went at which age.", "none",
          [("sum by (le) (increase(evoke_evicted_age_steps_bucket{%s}%s))" % (MEMORY, WINDOW), "{{le}}")], "heatmap"),
    Panel("Age of the live slots", "Quantiles of a sample, in steps since they were written.", "none",
          [("max by (memory, quantile) (evoke_slot_age_steps{%s})" % MEMORY, "{{quantile}} {{memory}}")], log=True),
    Panel("Forgotten values", "Evictions that left their value without a slot: it has to be learned again.", "ops",
          [(rate("evoke_last_slot_of_value_evicted_total"), "{{memory}}")]),
    Panel("Time to renew the memory", "Capacity by slots written: after so long everything that was not met again is "
          "gone. Infinite while nothing is written.", "s",
          [("sum by (memory) (evoke_slots_capacity{%s}) / %s" % (MEMORY, outcomes("miss_.*")), "{{memory}}")], log=True),
])

FINDS = Row("Whether it finds it", [
    Panel("Live recall", "Of sampled neighbors that the index should have named lately, the share that it named. 1 for "
          "an exact index, which proves its answers; of an approximate one, what it costs here.", "percentunit",
          [("min by (memory) (evoke_live_recall_ratio{%s})" % MEMORY, "{{memory}}")], most=1),
    Panel("Without a positive", "Training rows for which no slot of the right value was among the neighbors: new "
          "values, forgotten ones, or keys that went elsewhere.", "percentunit",
          [("%s / %s" % (rate("evoke_no_positive_total"), TRAINED), "{{memory}}")], most=1),
    Panel("Without a negative", "Training rows that had no neighbor of another value: nothing to push away from. High "
          "with few values, or a choose_k that is too small.", "percentunit",
          [("%s / %s" % (rate("evoke_no_negative_total"), TRAINED), "{{memory}}")], most=1),
    Panel("Margin violations", "Training rows whose positive is not nearer than the nearest negative by the margin: "
          "what the loss still works on.", "percentunit",
          [("%s / %s" % (rate("evoke_margin_violation_total"), TRAINED), "{{memory}}")], most=1),
    Panel("Key drift", "1 - cos(old key, new key) of slots that were met again: how far the embedding has gone since, or "
          "how much a value varies. Rising in step with the learning rate is normal; a jump is not.", "none",
          [(quantile(q, "evoke_key_drift_cosine"), "p%g {{memory}}" % (100 * q)) for q in (0.5, 0.9, 0.99)], log=True),
])

DASHBOARD = dashboard("evoke-memory-health", "Evoke / Memory health", __doc__.split(": ")[1].capitalize(),
                      [HOLDS, WRITES, AGES, FINDS])
