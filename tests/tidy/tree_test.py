"""The tree keeps its rules: one test a rule, and every breach with its file and line."""

import os

import pytest

import layers
import text_rules
from source_tree import SourceTree

ROOT = os.environ.get("EVOKE_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "..", ".."))
RULES = [layers.layering, layers.deciders_see_no_table, text_rules.targets, text_rules.size, text_rules.finished,
         text_rules.no_machine_path, text_rules.guards, text_rules.readmes, text_rules.proto_comments]


@pytest.fixture(scope="module")
def tree():
    return SourceTree(ROOT)


def test_the_tree_was_found(tree):
    assert "CMakeLists.txt" in tree.paths and len(tree.with_suffix(".cc")) > 50


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(tree, rule):
    breaches = list(rule(tree))
    if breaches:
        pytest.fail("\n".join([f"{len(breaches)} times against: {rule.__doc__.splitlines()[0]}"] + breaches), pytrace=False)
