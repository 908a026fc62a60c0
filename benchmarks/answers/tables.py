"""The tables of answers on the results page, from the committed CSVs; `table` makes Markdown of a header and rows."""

from pathlib import Path

from answers import summary as answers

FIRST_TOKEN = Path(__file__).parent / "results" / "first_token.csv"
PROMPTS = ("", "0.25", "0.1")
OF_DENSE = ("of_dense", "of_dense_low", "of_dense_high")
# series -> rows of the headline: name in the CSV and what it is; dense first, then those behind the whole tower
HEADLINE = {
    "shares": {
        "dense": "dense",
        "vidcom2, whole tower": "VidCom2's rule behind the whole tower",
        "equal_shares, whole tower": "equal shares behind the whole tower",
        "contrast, anchored, refill": "gate, refill, equal shares (the default)",
        "contrast, anchored, drop": "the same without refill",
    },
    "budget": {
        "dense": "dense",
        "vidcom2": "VidCom2's rule behind the whole tower",
        "evs": "EVS's rule before the tower, no refill",
        "gate": "gate, no refill (preset `gate`)",
    },
}


def headline(table):
    """Right answers as shipped, by the shares of tower and prompt; of the series that was measured last."""
    rows = [row for row in answers.read() if row.get("split") in (None, "", "test")]
    found = {name: answers.pick(rows, series=name, weights="training_free") for name in HEADLINE}
    series = "shares" if found["shares"] else "budget"
    body = []
    for name, what in HEADLINE[series].items():
        whole = name in ("dense", "vidcom2") or name.endswith("whole tower")
        mine = [row for row in found[series] if row["name"] == name and row["keep_ratio"] in PROMPTS]
        for row in sorted(mine, key=lambda row: PROMPTS.index(row["keep_ratio"])):
            prompt = row["keep_ratio"] or 1
            tower = 1 if whole else row.get("tower_ratio") or prompt
            kept = "" if name == "dense" else answers.interval(row, OF_DENSE)
            body.append([what, f"{float(tower):.0%}", f"{float(prompt):.0%}", answers.interval(row), kept])
    unmeasured = "" if series == "shares" else "\nThe default itself, with refill, has no row yet.\n"
    return table(["", "tower", "prompt", "right answers", "of dense"], body) + unmeasured


def first_token(table):
    """How much sooner the first token comes than dense, from the inputs on and from the file on."""
    body = [
        [
            row["model"],
            row["clip"],
            f"{float(row['tower_ratio']):.0%}",
            f"{float(row['keep_ratio']):.0%}",
            f"{float(row['dense_inputs_ms']) + float(row['dense_first_token_ms']):,.0f}",
            f"{float(row['sooner_from_inputs']):.1f}",
            f"{float(row['sooner_from_file']):.1f}",
        ]
        for row in answers.read(FIRST_TOKEN)
    ]
    header = ["model", "clip", "tower", "prompt", "dense, ms from the file", "sooner from the inputs"]
    return table([*header, "sooner from the file"], body)


def every_method(table):
    """Every method at every budget, rates, and the small series, for all weights that were measured."""
    rows = answers.read()
    parts = []
    for weights, what in answers.WEIGHTS.items():
        if not answers.pick(rows, weights=weights):
            continue
        for kind, metric, title in (
            ("all", "correct", "all questions, right answers"),
            ("text_at", "exact_match", "text at a time, exact match"),
        ):
            header, body = answers.budget_rows(rows, weights, kind=kind, metric=metric)
            if body:
                parts.append(f"**{what}: {title}**\n\n{table(header, body)}")
        header, body = answers.fps_rows(rows, weights)
        if body:
            slopes = ", ".join(
                f"{name} {answers.exponent(rows, weights, name):.2f}"
                for name in ("dense", "gate", "framegate")
            )
            parts.append(
                f"**{what}: frames per second, still camera, no budget**; tokens grow with the frame rate to the power "
                f"of (target: at most 0.5): {slopes}\n\n{table(header, body)}"
            )
        for series, title in SMALL_SERIES.items():
            header, body = answers.pair_rows(rows, series, weights)
            if body:
                parts.append(f"**{what}: {title}**\n\n{table(header, body)}")
    return "\n".join([*parts, "![Accuracy against tokens and frame rate](img/answers.png)\n"])


SMALL_SERIES = {
    "context": "what a kept patch sees (preset `gate`, no camera motion)",
    "ablation": "what is put behind the gate",
    "markers": "markers of time in the prompt against none",
}
