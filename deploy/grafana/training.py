"""The dashboard Training: does the model learn, how fast, and does its confidence mean anything?"""

from panels import MEMORY, SERVER, WINDOW, Panel, Row, dashboard, mean, quantile, quantiles, rate

TRAINED = "sum by (memory) (rate(evoke_top1_total{%s}%s))" % (MEMORY, WINDOW)


def confident(above: str, upto: str, correct: str) -> str:
    """Answers a second with a confidence in (above, upto]; "" for above: from 0."""
    def bucket(le):
        return 'sum by (memory) (rate(evoke_confidence_bucket{%s,correct=~"%s",le="%s"}%s))' % (MEMORY, correct, le, WINDOW)
    return "(%s - %s)" % (bucket(upto), bucket(above)) if above else bucket(upto)


BINS = [("", "0.3", "up to 0.3"), ("0.3", "0.6", "0.3 to 0.6"), ("0.6", "0.9", "0.6 to 0.9"), ("0.9", "1", "above 0.9")]

SPEED = Row("Speed", [
    Panel("Steps", "Observations written, a second: the memory's own clock, in which ages are counted.", "ops",
          [("sum by (memory) (rate(evoke_step{%s}%s))" % (MEMORY, WINDOW), "{{memory}}")]),
    Panel("Observations", "Rows that wrote, by what became of them.", "ops",
          [(rate("evoke_observations_total", "memory, outcome"), "{{memory}} {{outcome}}")], stack=True),
    Panel("Training rows", "Rows of train steps that wrote and were scored.", "ops", [(TRAINED, "{{memory}}")]),
    Panel("Train steps", "Calls of all trainers of the server.", "reqps",
          [('sum by (code) (rate(evoke_grpc_requests_total{%s,method="MemoryService/TrainStep"}%s))' % (SERVER, WINDOW),
            "{{code}}")], stack=True),
    Panel("Latency of a train step", "What a trainer waits for, unless it overlaps its calls.", "s",
          quantiles("evoke_grpc_request_seconds", "method", SERVER + ',method="MemoryService/TrainStep"',
                    (0.5, 0.99, 0.999)), log=True),
    Panel("Commit", "The part of it that is the disk.", "s", quantiles("evoke_commit_seconds"), log=True),
])

LEARNS = Row("Does it learn", [
    Panel("One-shot accuracy by times seen", "Answers of training rows before they were written, by how often their value had "
          "been seen. \"1\" is one-shot accuracy proper; \"0\" cannot be right. Learning shows as rising lines, "
          "and as 1 coming near to 10+.", "percentunit",
          [('sum by (memory, seen) (rate(evoke_top1_total{%s,correct="true"}%s)) / '
            "sum by (memory, seen) (rate(evoke_top1_total{%s}%s))" % (MEMORY, WINDOW, MEMORY, WINDOW),
            "{{memory}} seen {{seen}}")], width=12, most=1),
    Panel("What is seen", "Training rows by times seen: how much is new. Accuracy over all depends on this mix.", "ops",
          [(rate("evoke_top1_total", "memory, seen"), "{{memory}} {{seen}}")], stack=True, width=12),
    Panel("Margin loss", "Of training rows: max(0, nearest negative - nearest positive + margin).", "none",
          [(mean("evoke_margin_loss"), "mean {{memory}}"), (quantile(0.9, "evoke_margin_loss"), "p90 {{memory}}")]),
    Panel("Margin violations", "Share of training rows with a loss at all.", "percentunit",
          [("%s / %s" % (rate("evoke_margin_violation_total"), TRAINED), "{{memory}}")], most=1),
    Panel("Losses", "How many rows had which loss.", "none",
          [("sum by (le) (increase(evoke_margin_loss_bucket{%s}%s))" % (MEMORY, WINDOW), "{{le}}")], "heatmap"),
])

CALIBRATION = Row("Is its confidence worth anything", [
    Panel("Accuracy by confidence", "Of answers with a confidence in this range, the share that was right. Calibrated: each "
          "bar lies in its own range.", "percentunit",
          [("sum by (memory) (%s) / sum by (memory) (%s > 0)" % (confident(above, upto, "true"), confident(above, upto, ".*")),
            "{{memory}} %s" % name) for above, upto, name in BINS[1:]], "bargauge", most=1),
    Panel("Confidence and accuracy", "Mean confidence of answered training rows, and the share that was right. Confidence above "
          "accuracy is overconfidence; the softmax's temperature moves it.", "percentunit",
          [(mean("evoke_confidence"), "confidence {{memory}}"),
           ('sum by (memory) (rate(evoke_confidence_count{%s,correct="true"}%s)) / %s'
            % (MEMORY, WINDOW, rate("evoke_confidence_count")), "accuracy {{memory}}")], most=1),
    Panel("Confidence of right and wrong answers", "Medians. The further apart, the better a threshold separates them.",
          "percentunit", [(quantile(0.5, "evoke_confidence", "memory, correct"), "{{memory}} correct: {{correct}}")], most=1),
])

DASHBOARD = dashboard("evoke-training", "Evoke / Training", __doc__.split(": ")[1].capitalize(),
                      [SPEED, LEARNS, CALIBRATION])
