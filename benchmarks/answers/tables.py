"""The tables of answers on the results page, from the committed CSVs; `table` makes Markdown of a header and rows."""

from pathlib import Path

from answers.summary import OF_DENSE, WEIGHTS, exponent, interval, percent, pick, read

FIRST_TOKEN = Path(__file__).parent / "results" / "first_token.csv"
PLANS = Path(__file__).parents[1] / "plans" / "results" / "answers.csv"
VIDCOM2 = "vidcom2, whole tower"
# rows of the first table: name in the CSV, shares that were asked for (tower, prompt), and what it is
HEADLINE = (
    ("dense", None, "dense"),
    ("no video", None, "dense, shown no video: what can be guessed"),
    ("framegate", ("0.25", "0.25"), "**framegate**: gate, refill, select"),
    ("framegate", ("0.25", "0.1"), "**framegate**"),
    ("framegate", ("0.1", "0.1"), "**framegate**"),
    (VIDCOM2, (None, "0.25"), "VidCom2's rule behind the whole tower"),
    (VIDCOM2, (None, "0.1"), "VidCom2's rule behind the whole tower"),
    ("gate", (None, "0.25"), "the gate alone, no refill"),
    ("evs", (None, "0.25"), "EVS's rule, no refill"),
    ("uniform_frames", (None, "0.25"), "every fourth tube whole"),
)
OVER_RIVAL = ("over_rival", "over_rival_low", "over_rival_high")
COLUMNS = ["", "tower", "prompt", "right answers", "of dense", "first token, sooner", "videos of each size"]
WIDE = "Qwen3-VL-2B's shape"
UNBUDGETED = ("dense", "no video")


def headline(table):
    """Right answers as shipped, by the shares of tower and prompt that were spent."""
    rows = pick(read(), series="budget", weights="training_free")
    return table(COLUMNS, [_line(row, what) for row, what in _found(rows)])


def _found(rows):
    for name, shares, what in HEADLINE:
        for row in rows:
            tower, prompt = shares or (None, None)
            if (
                row["name"] == name
                and tower in (None, row["tower_ratio"])
                and prompt in (None, row["keep_ratio"])
            ):
                yield row, what


def _line(row, what):
    kept = "" if row["name"] == "dense" else interval(row, OF_DENSE)
    return [
        what,
        percent(row["tower_share"]),
        percent(row["prompt_share"]),
        interval(row),
        kept,
        _sooner(row),
        row["videos"],
    ]


def _sooner(row):
    """How much sooner the first token of a model of useful size comes at these shares; empty where it was not timed."""
    told_by = ("fps", "tower_ratio", "keep_ratio")
    for timed in read(FIRST_TOKEN) if row["name"] == "framegate" else ():
        # without shares the threshold decided, which no row of this table does
        alike = all(timed[name] and float(timed[name]) == float(row[name]) for name in told_by)
        if timed["model"] == WIDE and alike:
            return f"{float(timed['sooner_from_file']):.1f} times"
    return ""


def shares(table):
    """The default at every pair of shares: paired shares of dense, for all sizes and apart."""
    parts = []
    for weights, what in WEIGHTS.items():
        for size, of_size in (("all", "all sizes"), *((one, f"{one} cells a tube") for one in _sizes())):
            rows = pick(read(), series="budget", weights=weights, name="framegate", size=size)
            if rows:
                parts.append(f"**{what}, {of_size}**\n\n{_grid(table, rows)}")
    return "\n".join(parts)


def _sizes():
    return list(dict.fromkeys(row["size"] for row in read() if row["size"] != "all"))


def _grid(table, rows):
    prompts, towers = (
        sorted({float(row[name]) for row in rows}, reverse=True) for name in ("keep_ratio", "tower_ratio")
    )
    found = {(float(row["tower_ratio"]), float(row["keep_ratio"])): interval(row, OF_DENSE) for row in rows}
    body = [[f"{tower:.0%}", *(found.get((tower, prompt), "") for prompt in prompts)] for tower in towers]
    return table(["tower, below; prompt", *(f"{prompt:.0%}" for prompt in prompts)], body)


def methods(table):
    """Every method at every share of the prompt, and what it sends through the tower."""
    parts = []
    for weights, what in WEIGHTS.items():
        rows = [
            row for row in pick(read(), series="budget", weights=weights) if row["name"] not in UNBUDGETED
        ]
        if not rows:
            continue
        prompts = sorted({float(row["keep_ratio"]) for row in rows if row["keep_ratio"]}, reverse=True)
        body = []
        apart = {row["name"] for row in rows if row["tower_ratio"] != row["keep_ratio"]}
        for name, tower in dict.fromkeys((row["name"], _tower(row, apart)) for row in rows):
            mine = {
                float(row["keep_ratio"]): row
                for row in rows
                if (row["name"], _tower(row, apart)) == (name, tower)
            }
            counts = sorted({int(row["videos"]) for row in mine.values()})
            found = [interval(mine[prompt], OF_DENSE) if prompt in mine else "" for prompt in prompts]
            body.append([name, tower, " or ".join(map(str, counts)), *found])
        header = ["method", "tower", "videos of each size", *(f"prompt {prompt:.0%}" for prompt in prompts)]
        parts.append(f"**{what}**\n\n{table(header, body)}")
    return "\n".join(parts)


def _tower(row, apart):
    """What a method sends through the tower: what the prompt has, or a share, for those whose two budgets differ."""
    return percent(row["tower_ratio"]) if row["name"] in apart else "as the prompt"


def kinds(table):
    """Kind by kind: guessed, dense, and the default at the two budgets of the headline."""
    rows = read()
    shown = (
        ("no video", "1", "1"),
        ("dense", "1", "1"),
        ("framegate", "0.25", "0.25"),
        ("framegate", "0.25", "0.1"),
    )
    names = dict.fromkeys(row["kind"] for row in rows if row["series"] == "budget")
    body = []
    for kind in names:
        line = [kind]
        for name, tower, prompt in shown:
            found = pick(rows, kind=kind, series="budget", weights="training_free", name=name)
            if name == "framegate":
                found = [row for row in found if (row["tower_ratio"], row["keep_ratio"]) == (tower, prompt)]
            line.append(interval(found[0]) if found else "")
        body.append(line)
    return table(["kind", "no video", "dense", "framegate 25 / 25", "framegate 25 / 10"], body)


def choices(table):
    """What was tried over the default, one thing at a time, and the rules that read the question."""
    parts = []
    for series in ("choices", "query"):
        rows = pick(read(), series=series, weights="training_free", split="validation")
        prompts = sorted({row["keep_ratio"] for row in rows}, key=float, reverse=True)
        body = []
        for name in dict.fromkeys(row["name"] for row in rows):
            mine = {row["keep_ratio"]: row for row in rows if row["name"] == name}
            body.append([name, *(interval(mine[one], OF_DENSE) if one in mine else "" for one in prompts)])
        if body:
            header = [series, *(f"tower 25 %, prompt {float(one):.0%}" for one in prompts)]
            parts.append(table(header, body))
    return "\n".join(parts)


def rates(table):
    """Accuracy, shares and times against frames per second, and how tokens grow."""
    rows = pick(read(), series="fps", weights="training_free", camera="still")
    body = [
        [
            row["fps"],
            row["name"],
            interval(row),
            f"{float(row['tokens_kept']):,.0f}",
            percent(row["tower_share"]),
            percent(row["prompt_share"]),
            f"{1000 * float(row['input_seconds']):,.0f}" if row["input_seconds"] else "",
        ]
        for row in rows
    ]
    grown = []
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        if len(mine) > 1:
            grown.append(f"{name} {exponent(mine, 'tokens_kept'):.2f}")
    slopes = f"Video tokens grow with the rate to the power of (target: at most 0.5): {', '.join(grown)}.\n\n"
    header = ["fps", "preset", "right answers", "video tokens", "tower", "prompt", "inputs, ms"]
    if not any(row[-1] for row in body):
        # taken beside other work, times are left out of the rows
        header, body = header[:-1], [row[:-1] for row in body]
    return slopes + table(header, body) if body else ""


def first_token(table):
    """How much sooner the first token comes than dense, from the inputs on and from the file on."""
    body = [
        [
            row["model"],
            row["clip"],
            row["fps"],
            row["seconds"],
            *(f"{float(row[one]):.0%}" if row[one] else "threshold" for one in ("tower_ratio", "keep_ratio")),
            f"{float(row['dense_inputs_ms']) + float(row['dense_first_token_ms']):,.0f}",
            f"{float(row['sooner_from_inputs']):.1f}",
            f"{float(row['sooner_from_file']):.1f}",
        ]
        for row in read(FIRST_TOKEN)
    ]
    header = [
        "model",
        "clip",
        "fps",
        "seconds",
        "tower",
        "prompt",
        "dense, ms from the file",
        "sooner from the inputs",
    ]
    return table([*header, "sooner from the file"], body)


def plans(table):
    """Every frame sampler at the same prompt tokens, against uniform frames."""
    if not PLANS.exists():
        return "No row yet.\n"
    rows = read(PLANS)
    body = []
    for tower in ("1", "0.25"):
        mine = [row for row in rows if row["tower_ratio"] == tower]
        # what others are held against comes first
        first = ("dense", "uniform")
        for name in sorted(dict.fromkeys(row["name"] for row in mine), key=lambda name: name not in first):
            what = "uniform, four times the tokens" if name == "dense" else name
            line = [what, "" if tower == "1" else "yes"]
            for place, kind in enumerate(("headline", "appears")):
                (row,) = pick(mine, name=name, kind=kind)
                line += [] if place else [row["videos"], f"{float(row['tokens_kept']):,.0f}"]
                line += [interval(row), interval(row, OVER_RIVAL) if row["over_rival"] else ""]
            body.append(line)
    header = ["plan", "gate", "videos of each length", "video tokens", "at a time", "at a time, over uniform"]
    return table([*header, "appears", "appears, over uniform"], body)


def targets(table):
    """What was wanted of the default as shipped and after the fine-tune, and what was found."""
    rows, body = read(), []
    for weights, prompt, size, least in (
        ("training_free", "0.25", "all", 0.97),
        ("training_free", "0.1", "6x10 8x14", 0.9),
        ("gate_tuned", "0.25", "all", 0.99),
        ("gate_tuned", "0.1", "6x10 8x14", 0.97),
    ):
        found = pick(rows, series="budget", weights=weights, name="framegate", size=size)
        found = [row for row in found if (row["tower_ratio"], row["keep_ratio"]) == ("0.25", prompt)]
        what = f"{WEIGHTS[weights]}: tower 25 %, prompt {percent(prompt)}, of dense ({_of_sizes(size)})"
        body += [
            [what, f">= {least:g}", interval(row, OF_DENSE), _met(row, OF_DENSE, least)] for row in found
        ]
    for row in pick(rows, series="budget", weights="training_free", name="framegate"):
        if row["tower_ratio"] == "0.25" and row["over_rival"]:
            what = f"tower 25 %, prompt {percent(row['keep_ratio'])}: right answers over VidCom2's at the same prompt"
            point, high = float(row["over_rival"]), float(row["over_rival_high"])
            met = "yes" if point >= -0.01 and high >= 0 else "no"
            body.append([what, "not below", interval(row, OVER_RIVAL), met])
    body += [_over_baselines(rows, prompt) for prompt in ("0.25", "0.1")]
    return table(["what", "target", "found", "met"], [line for line in body if line])


def _of_sizes(size):
    return "all sizes" if size == "all" else " and ".join(size.split())


def _met(row, columns, least):
    """Met means the lower end of the interval; where it is the point alone, the row says so."""
    point, low, _ = (float(row[name]) for name in columns)
    if low >= least:
        return "yes"
    return "the point alone" if point >= least else "no"


def _over_baselines(rows, prompt):
    """The default against all whose tower share is at most its own, at one share of the prompt."""
    found = pick(rows, series="budget", weights="training_free", keep_ratio=prompt)
    ours = [row for row in found if row["name"] == "framegate" and row["tower_ratio"] == "0.25"]
    others = [
        row
        for row in found
        if row["name"] != "framegate" and row["value"] and float(row["tower_ratio"]) <= 0.25
    ]
    if not (ours and others):
        return None
    # baselines may have been asked about fewer videos: shares of dense are each on its own
    best = max(others, key=lambda row: float(row["of_dense"]))
    mine, theirs = float(ours[0]["of_dense"]), float(best["of_dense"])
    what = f"tower 25 %, prompt {percent(prompt)}: of dense, above every baseline whose tower share is at most ours"
    return [what, "above", f"{mine:.3f}, {best['name']} {theirs:.3f}", "yes" if mine > theirs else "no"]
