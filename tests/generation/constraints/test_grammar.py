"""Languages of regular expressions, schemas and grammars, and refusals with a reason."""

import gc
import json
import re
import time
import weakref
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebyt5.generation.constraints import ConstraintError, Grammar, grammar
from kebyt5.generation.constraints.emptiness import is_empty_schema

EOS = 1
NEED_EACH_OTHER = {
    "a": {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]},
    },
    "b": {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/a"}},
        "required": ["n"],
        "additionalProperties": False,
    },
}


def admits(constraint, text):
    state = constraint.start()
    for byte_id in [byte + 3 for byte in text.encode()]:
        if not constraint.allowed(state)[byte_id]:
            return False
        state = constraint.advance(state, byte_id)
    return bool(constraint.allowed(state)[EOS])


def test_regex():
    cities = Grammar.regex("(서울|부산)[0-9]{2}")
    assert admits(cities, "서울12")
    assert not any(admits(cities, text) for text in ("서울1", "서울123", "대구12", ""))


def test_json_schema():
    schema = {
        "type": "object",
        "properties": {"이름": {"type": "string"}, "나이": {"type": "integer"}},
        "required": ["이름", "나이"],
        "additionalProperties": False,
    }
    person = Grammar.json_schema(schema)
    assert admits(
        person, json.dumps({"이름": "김하늘", "나이": 7}, ensure_ascii=False, separators=(",", ":"))
    )
    assert not admits(person, '{"이름":7}')


def test_lark():
    sums = Grammar.lark('start: N ("+" N)*\nN: /[1-9][0-9]*/\n')
    assert admits(sums, "12+3+4")
    assert not admits(sums, "12+")


def test_a_state_can_be_left_and_taken_up_again():
    pattern = re.compile("(가나|가다|나)[0-9]+")
    constraint = Grammar.regex(pattern.pattern)
    states = {"": constraint.start()}
    random = np.random.default_rng(0)
    for _ in range(200):  # branches from any earlier state, as after a wrong draft
        prefix = str(random.choice(list(states)))
        allowed = np.flatnonzero(constraint.allowed(states[prefix])).tolist()
        assert (EOS in allowed) == bool(
            pattern.fullmatch(bytes(map(ord, prefix)).decode("utf-8", "ignore"))
        )
        byte_id = int(random.choice([i for i in allowed if i != EOS]))
        states[prefix + chr(byte_id - 3)] = constraint.advance(states[prefix], byte_id)


@pytest.mark.parametrize(
    ("make", "argument", "reason"),
    [
        (Grammar.regex, "(", "unclosed group"),
        (Grammar.regex, "a(?=b)", "look-around"),
        (Grammar.regex, "[^\x00-\U0010ffff]", "no text at all"),
        (Grammar.lark, "start: foo\n", "unknown name"),
        (Grammar.lark, 'start: start "a"\n', "no text at all"),
        (Grammar.json_schema, "{", "cannot be read"),
        (Grammar.json_schema, {"type": "foo"}, "Invalid type"),
        (Grammar.json_schema, {"type": "string", "enum": []}, "Unsatisfiable"),
        (Grammar.json_schema, {"type": "array", "minItems": 3, "maxItems": 2}, "Unsatisfiable"),
        (Grammar.json_schema, {"enum": {1, 2}}, "cannot be read"),
        (Grammar.regex, "(a{1000}){1000}", "too many expressions"),
        (Grammar.regex, "(" * 9999 + "a" + ")" * 9999, "invalid regex"),
        (Grammar.regex, "가\ud800", "lone surrogate"),
        (Grammar.lark, "start: x\nx: y\ny: x\n", "no text at all"),
        (Grammar.lark, 'start: "a" start\n', "Too many items"),
        (Grammar.lark, 'start: "a" x\nx: x "b"\n', "no text at all"),
        (Grammar.lark, 'start: x{1000}\nx: "a"{1000}\n', "Too many items"),
        (
            Grammar.json_schema,  # an object in an object, for ever
            {
                "$ref": "#/$defs/n",
                "$defs": {
                    "n": {
                        "type": "object",
                        "properties": {"n": {"$ref": "#/$defs/n"}},
                        "required": ["n"],
                        "additionalProperties": False,
                    }
                },
            },
            "Too many items",
        ),
        (Grammar.json_schema, {"$ref": "#/$defs/a", "$defs": NEED_EACH_OTHER}, "no text at all"),
        (
            Grammar.json_schema,
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"$ref": "#"},
                        {"type": "object", "properties": {"k": {"$ref": "#"}}, "required": ["k"]},
                    ]
                },
            },
            "no text at all",
        ),
        (Grammar.lark, 'start: "a" start | "b" start\n', "no text at all"),
        (Grammar.lark, 'start: "(" start ")" | "[" start "]"\n', "no text at all"),
        (
            Grammar.lark,
            'start: x  // "c"\nx: "a" x | "b" y\ny: C~2 x\n | ("d" | D) y+\nC: "c"\nD: /d/\n',
            "no text at all",
        ),
        (Grammar.lark, "start: A B\nA: /[ab]/\nB: /c/ & /d/\n", "no text at all"),
        (Grammar.lark, 'start: /[a-z]/ y\ny: "k" y\n', "no text at all"),
        (Grammar.regex, "a\\", "ends within an escape"),
        (Grammar.regex, "a" + "\\" * 3, "ends within an escape"),
        (Grammar.json_schema, {"pattern": "a\\"}, "ends within an escape"),
        (Grammar.json_schema, {"patternProperties": {"a\\": True}}, "ends within an escape"),
        (Grammar.json_schema, {"const": 2**53 + 1}, "9007199254740993 would be rounded"),
        (Grammar.json_schema, {"enum": [{"id": [10**30]}]}, "would be rounded"),
        (Grammar.json_schema, {"minimum": 10**400}, "would be rounded"),
        (
            Grammar.json_schema,
            {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#"}},
            "no text at all",
        ),
        (Grammar.lark, 'start: <[258]> "a"\n', r"holds the token <\[258\]>; write its text"),
        (Grammar.lark, "start: A start\nA: /a{0}/\n", "cannot handle it; write it simpler"),
    ],
)
def test_refusals(make, argument, reason):
    with pytest.raises(ConstraintError, match=reason) as caught:
        make(argument)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("make", "argument", "text"),
    [
        (Grammar.json_schema, {"$ref": "#/$defs/b", "$defs": NEED_EACH_OTHER | {"a": True}},
         '{"n":0}'),
        (Grammar.json_schema, {"type": "array", "items": {"$ref": "#"}}, "[[],[]]"),
        (Grammar.json_schema, {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}],
                               "$defs": NEED_EACH_OTHER}, "null"),
        (Grammar.lark, 'start: "(" start ")" | "[" A{0,2} "]"\nA: ~"x" & /[a-z]/\n', "([k])"),
        (Grammar.lark, "start: INT [start]\n%import common.INT\n", "12"),
        (Grammar.lark, 'start: %json {"type": "null"}\n', "null"),
        (Grammar.lark, 'start: "a" | "b" x\nx: x "c"\n', "a"),
        (Grammar.lark, 'start: "/" /"|[\\/]/ "a".."c" // "a" start\n', '/"b'),
        (Grammar.lark, 'start: "<a>" /<b>/  // <c>\n', "<a><b>"),
        (Grammar.json_schema, {"anyOf": [{"$ref": "#/$defs/끝"}, {"items": {"$ref": "#"}}],
                               "$defs": {"끝": {"const": 2**53}}}, "9007199254740992"),
        (Grammar.json_schema, {"type": "array", "items": {"$ref": "#"}, "minItems": 0.0}, "[]"),
        (Grammar.json_schema, {"const": {"$ref": "가", "pattern": "\\"}},
         '{"$ref":"가","pattern":"\\\\"}'),
        (Grammar.json_schema, {"type": "object", "properties": {"const": {"type": "null"}},
                               "required": ["const"]}, '{"const":null}'),
    ],
)  # fmt: skip
def test_recursion_that_ends_is_no_reason_to_refuse(make, argument, text):
    assert admits(make(argument), text)


RULES = [f"r{number}" for number in range(3)]
PARTS = st.sampled_from([*RULES, '"a"', "/[bc]/", "D", "(D | r1)", "[r2]"])


@settings(max_examples=1000)
@given(st.lists(st.lists(st.lists(PARTS, min_size=1, max_size=3), min_size=1, max_size=2),
                min_size=3, max_size=3))  # fmt: skip
def test_a_grammar_is_refused_as_empty_if_and_only_if_it_is(bodies):
    ending = set()
    for _ in RULES:
        for name, body in zip(RULES, bodies, strict=True):
            if any(all(part not in RULES or part in ending for part in each) for each in body):
                ending.add(name)
    lines = [
        f"{name}: {' | '.join(map(' '.join, body))}"
        for name, body in zip(RULES, bodies, strict=True)
    ]
    grammar = "\n".join(["start: r0", *lines, 'D: "d" | "dd"', ""])
    if "r0" in ending:
        with suppress(ConstraintError):  # of what explodes
            Grammar.lark(grammar)
            return
    with pytest.raises(ConstraintError) as caught:
        Grammar.lark(grammar)
    assert ("no text at all" in str(caught.value)) <= ("r0" not in ending)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**6},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 10**9},
        {"type": "string", "minLength": 10**9},
    ],
)
def test_huge_counts_are_no_reason_to_explode(schema):
    constraint = Grammar.json_schema(schema)
    assert admits(constraint, "[1,2]") == ("maxItems" in schema)


def chained_schema(links):
    parts = {str(i): {"items": {"$ref": f"#/$defs/{i + 1}"}} for i in range(links)}
    return {"$ref": "#/$defs/0", "$defs": parts | {str(links): {"type": "null"}}}


def chained_rules(links):
    return "start: R0\n" + "".join(f"R{i}: R{i + 1}\n" for i in range(links)) + f'R{links}: "a"\n'


def test_a_chain_of_references_that_would_end_the_process_is_refused():
    for make, chained in ((Grammar.json_schema, chained_schema), (Grammar.lark, chained_rules)):
        make(chained(200))
        with pytest.raises(ConstraintError, match="goes too deep: a chain of hundreds"):
            make(chained(20_000))


def test_a_schema_is_judged_in_proportion_to_its_size():
    # Each link is known to have a value only after the next one, and the hub looks at all of them.
    links = 4000
    hub = {"allOf": [{"$ref": f"#/$defs/{i}"} for i in range(links)]}
    parts = {
        str(i): {"allOf": [{"$ref": f"#/$defs/{i + 1}"}, *[{}] * 20]} for i in range(links)
    } | {"hub": hub, str(links): {"type": "null"}}
    schema = json.loads(json.dumps({"$ref": "#/$defs/hub", "$defs": parts}))
    began = time.thread_time()
    assert not is_empty_schema(schema)
    schema["$defs"][str(links)] = {"$ref": "#/$defs/hub"}
    assert is_empty_schema(schema)
    assert time.thread_time() - began < 5


def test_a_schema_of_several_types_is_empty_if_it_is_for_each_of_them():
    again = {"$ref": "#"}
    both = {
        "type": ["object", "array"], "required": ["a"], "properties": {"a": again},
        "minItems": 1, "items": again,
    }  # fmt: skip
    assert is_empty_schema(both)
    assert is_empty_schema(both | {"type": ["array", "array"]})
    for other in ({"type": ["object", "array", "null"]}, {"minItems": 0}, {"required": []}):
        assert not is_empty_schema(both | other)


def test_a_grammar_leaves_no_cycle_that_would_keep_its_memory():
    gc.disable()
    try:
        constraint = Grammar.regex("[a-z]{3}")
        assert admits(constraint, "abc")
        gone = weakref.ref(constraint)
        del constraint
        assert gone() is None
    finally:
        gc.enable()


def pattern_schemas(count):
    return [{"type": "string", "pattern": f"(a|b){{0,{50 + i}}}c"} for i in range(count)]


def test_multiples_that_explode_are_refused():
    for schema in (
        {"type": "integer", "multipleOf": 99_999_999},
        {"allOf": [{"multipleOf": 10_007}, {"multipleOf": 10_009}]},
    ):
        with pytest.raises(ConstraintError):
            Grammar.json_schema(schema)
    Grammar.json_schema({"type": "integer", "multipleOf": 5})


def test_patterns_whose_intersection_explodes_are_refused():
    with pytest.raises(ConstraintError, match="too long to compile: too many of its patterns"):
        Grammar.json_schema({"allOf": pattern_schemas(24)})
    terms = " & ".join(f"/(.*{letter}.{{{n}}})|x/" for n, letter in enumerate("abcdefgh", 12))
    for lark in (
        f"start: T\nT: {terms}\n",
        f"start: %json {json.dumps({'allOf': pattern_schemas(24)})}\n",
    ):
        with pytest.raises(ConstraintError, match="too long to compile: too many of its patterns"):
            Grammar.lark(lark)
    assert admits(Grammar.lark("start: T\nT: /[a-z]+/ & /...?/\n"), "abc")


def test_many_patterns_that_do_not_meet_are_fine(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(1)")  # is not run
    monkeypatch.chdir(tmp_path)
    properties = {f"p{i}": schema for i, schema in enumerate(pattern_schemas(20))}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    assert admits(Grammar.json_schema(schema), '{"p0":"abc","p19":"c"}')
    assert admits(Grammar.json_schema({"anyOf": pattern_schemas(20)}), '"abc"')


def test_what_explodes_later_ends_with_the_same_error():
    several = " | ".join(" ".join(["s"] * count) for count in range(2, 8))
    constraint = Grammar.lark(f'start: s\ns: {several} | "a" | "b"\n')
    a, b = (ord(letter) + 3 for letter in "ab")
    states = [constraint.advance(constraint.start(), a)]

    def go_on():
        while constraint.allowed(states[-1])[a]:
            states.append(constraint.advance(states[-1], a))

    with pytest.raises(ConstraintError, match=r"Too many|items; max|ms a byte"):
        go_on()
    assert len(states) > 10
    # Neither the beginning nor another text is the worse for it.
    assert constraint.allowed(constraint.advance(states[0], b))[[EOS, b]].all()
    assert admits(constraint, "ab")


def test_a_slow_text_ends_and_another_of_the_same_walk_does_not(monkeypatch):
    constraint = Grammar.regex("[a-z]*")
    a, b = (ord(letter) + 3 for letter in "ab")
    first = state = constraint.start()
    monkeypatch.setattr(grammar, "_SLOW", -1.0)
    for _ in range(grammar._MAX_SLOW):
        assert constraint.allowed(state)[a]
        state = constraint.advance(state, a)
    with pytest.raises(ConstraintError, match="ms a byte"):
        constraint.allowed(state)
    monkeypatch.setattr(grammar, "_SLOW", 60.0)
    assert constraint.allowed(constraint.advance(first, b))[[EOS, b]].all()


def test_what_gets_ever_slower_ends_before_it_keeps_others_waiting():
    constraint = Grammar.lark('start: s "!"\ns: s s | /[a-z]/\n')

    def go_on():
        state = constraint.start()
        for _ in range(490):  # the parser itself gives up later
            assert constraint.allowed(state)[ord("a") + 3]
            state = constraint.advance(state, ord("a") + 3)

    with pytest.raises(ConstraintError, match="more than 10 ms a byte"):
        go_on()
    assert admits(constraint, "ab!")


def test_one_grammar_serves_any_number_of_texts():
    # Each text brings new states to the lexer that all texts share, of which 20,000 are a limit.
    constraint = Grammar.regex("(a|b)*a(a|b){40}")
    random = np.random.default_rng(0)
    for _ in range(60):
        text = "".join(random.choice(["a", "b"], 400))
        assert admits(constraint, text) == (text[-41] == "a")


def test_a_long_grammar_that_explodes_does_so_in_another_process(monkeypatch):
    monkeypatch.setattr(grammar, "_new_matcher", None)  # so nothing is compiled here
    with pytest.raises(ConstraintError, match="refused: lexer error: too many expressions"):
        Grammar.regex("(a|b)?" * 9000)
