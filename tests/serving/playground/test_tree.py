"""Trees show every arc, and no arc crosses the label of another."""

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kebyt5.serving.playground.tree import arc_levels, draw_tree
from kebyt5.tasks.metrics.dp import MISSING, Arc

WORDS = ["동생은", "어제", "<b>&책", "읽었다."]


def words_of(svg):
    return [text for text in svg.findall("text") if "word" in text.get("class")]


def arcs_of(words):
    """Draws heads that a model might write, sensible or not."""
    return st.lists(st.integers(0, words + 2), min_size=words, max_size=words)


@given(st.integers(1, 9).flatmap(arcs_of))
def test_arcs_over_a_common_gap_are_at_different_levels(heads):
    arcs = [(word, head) for word, head in enumerate(heads, 1) if head != word]
    levels = arc_levels(arcs)
    assert set(levels) == set(arcs)
    between = {arc: {*range(min(arc), max(arc))} for arc in arcs if arc[1]}
    for one, gaps in between.items():
        assert levels[one] >= 1
        for other, others in between.items():
            if one != other and gaps & others:
                assert levels[one] != levels[other]
                if len(gaps) < len(others):
                    assert levels[one] < levels[other]
    for root in (arc for arc in arcs if not arc[1]):
        assert all(levels[root] > levels[arc] for arc in between)


@given(arcs_of(4), st.sets(st.integers(0, 3)))
def test_a_tree_has_all_words_and_every_arc_that_can_be_drawn(heads, unread):
    arcs = [MISSING if i in unread else Arc(head, "NP_SBJ") for i, head in enumerate(heads)]
    svg = ElementTree.fromstring(draw_tree(WORDS, arcs)).find("svg")
    texts = {text.text: text.get("class") for text in words_of(svg)}
    assert list(texts) == WORDS
    drawn = {(int(g.get("data-word")), int(g.get("data-head"))) for g in svg.findall("g")}
    wanted = {
        (word, arc.head)
        for word, arc in enumerate(arcs, 1)
        if arc != MISSING and arc.head <= 4 and arc.head != word
    }
    assert drawn == wanted
    lost = {word for word, kind in texts.items() if "lost" in kind}
    assert lost == {WORDS[i] for i in range(4) if i + 1 not in {word for word, _ in drawn}}
    height = float(svg.get("height"))
    for rect in svg.iter("rect"):
        assert 0 <= float(rect.get("y")) < height


def test_words_do_not_run_into_each_other():
    svg = ElementTree.fromstring(draw_tree(WORDS, [Arc(4, "NP_SBJ")] * 3 + [Arc(0, "VP")]))
    places = [float(text.get("x")) for text in words_of(svg.find("svg"))]
    assert places == sorted(places)
    for (left, right), (a, b) in zip(pairwise(places), pairwise(WORDS), strict=True):
        assert right - left > 8 * (len(a) + len(b)) / 2  # half a letter's height a letter
