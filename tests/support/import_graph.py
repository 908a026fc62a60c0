"""Who imports whom in framegate, read from the source: nothing is run."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import framegate

ROOT = Path(__file__).parents[2]
SHELVES = ("models", "kernels", "tokenizers", "configs")


def product_files():
    """{module name: path} of the shelves and of the face; the links from the one to the other are not followed."""
    found = {}
    for top, prefix in [(ROOT / "src", ""), *((ROOT / shelf, f"framegate.{shelf}.") for shelf in SHELVES)]:
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            if prefix or parts[1] not in SHELVES:
                found[(prefix + ".".join(parts)).removesuffix(".__init__")] = path
    return found


def imports_of(path, *, in_functions=True):
    """(module, name or None) of each import that runs; those for type checkers alone do not."""
    pending = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


def _targets(module, name, files):
    """The modules that an import loads, with the packages above them; of other projects the first word."""
    if not module.startswith("framegate"):
        return {module.split(".")[0]}
    loaded = f"{module}.{name}" if f"{module}.{name}" in files else module
    if module == "framegate" and name in framegate._HOMES:
        loaded = framegate._HOMES[name]
    parts = loaded.split(".")
    above = {".".join(parts[:length]) for length in range(2, len(parts) + 1)}
    return above & files.keys()


def import_graph(*, in_functions=True):
    """{module: what it imports}; a module's own packages are left out, which it stands in anyway.

    in_functions: whether imports in the bodies of functions count.
    """
    files, graph = product_files(), {}
    for source, path in files.items():
        targets = set()
        for module, name in imports_of(path, in_functions=in_functions):
            targets |= _targets(module, name, files)
        graph[source] = {target for target in targets if not f"{source}.".startswith(f"{target}.")}
    return graph


def within(name, places):
    """Whether a module is one of the places or lies under one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def reachable(graph, start):
    """Everything that importing `start` may load, itself included."""
    seen, pending = set(), [start]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += graph.get(name, ())
    return seen


def crossings(graph, inside, forbidden):
    """Imports that leave the modules `inside` and come to a forbidden place, near or far: "importer -> imported"."""
    found = set()
    for source in filter(inside, graph):
        for target in graph[source]:
            if not inside(target) and any(within(name, forbidden) for name in reachable(graph, target)):
                found.add(f"{source} -> {target}")
    return found


def circle(graph):
    """One circle of imports, as a list that ends where it began; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []
