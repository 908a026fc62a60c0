"""Dependencies go one way, however long the way: imports are followed through every file between."""

import subprocess
import sys

import pytest
from import_graph import circle, crossings, import_graph, product_files, within

TOOLS = ("framegate.__main__", "framegate.cli", "framegate.tools")
MAY_KNOW_THE_CONFIGURATION = (
    *TOOLS,
    "framegate.api",
    "framegate.config",
    "framegate.configs",
    "framegate.models.attachment",
    "framegate.models.auto",
)


def under(place):
    return lambda name: within(name, (place,))


def outside(places):
    return lambda name: name.startswith("framegate") and not within(name, places)


# rule -> (whom it binds, what they must not come to)
RULES = {
    "kernels know no video and no model": (
        under("framegate.kernels"),
        ("framegate.tokenizers", "framegate.models", "transformers", "av"),
    ),
    "tokenizers know no model": (under("framegate.tokenizers"), ("framegate.models", "transformers")),
    "configurations are read without torch": (under("framegate.configs"), ("torch", "transformers")),
    "only the top knows the whole configuration": (
        outside(MAY_KNOW_THE_CONFIGURATION),
        ("framegate.config",),
    ),
    "the product runs without its tools": (outside(TOOLS), TOOLS),
    "nothing needs torchvision": (under("framegate"), ("torchvision",)),
}


@pytest.fixture(scope="module")
def graph():
    return import_graph()


@pytest.mark.parametrize("rule", RULES)
def test_dependencies_go_one_way(graph, rule):
    bound, forbidden = RULES[rule]
    assert sorted(crossings(graph, bound, forbidden)) == []


def test_no_file_imports_itself_in_the_end():
    assert circle(import_graph(in_functions=False)) == []


def test_the_graph_sees_files_packages_and_lazy_names(graph):
    assert (
        graph.keys() == product_files().keys() >= {"framegate", "framegate.api", "framegate.configs.loader"}
    )
    assert "framegate.tokenizers.gate" in graph["framegate.config"]  # the package above what is imported
    assert "transformers" in graph["framegate.models.auto"]
    assert "framegate.api" in graph["framegate.cli.plan"]  # from framegate import plan_video, in a function


def test_far_offenders_and_circles_are_found():
    chain = {"low.a": {"low.b"}, "low.b": {"middle"}, "middle": {"top.config"}, "top.config": {"math"}}
    assert crossings(chain, under("low"), ("top",)) == {"low.b -> middle"}
    assert crossings(chain, under("low"), ("math",)) == {"low.b -> middle"}
    assert crossings(chain, under("low"), ("lo",)) == set()
    assert circle(chain) == []
    assert set(circle(chain | {"top.config": {"low.a"}})) == {*chain}


def test_a_configuration_is_read_without_torch():
    code = "import sys, framegate; framegate.load_config(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr
