"""From files to shards: everything read is in a shard or counted as dropped, with a reason."""

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from datatrove.data import Document
from datatrove.pipeline.writers.jsonl import JsonlWriter

import kebyt5.corpus.build as build_module
from kebyt5.corpus.build import build_corpus, source_files
from kebyt5.corpus.config import load_config
from kebyt5.corpus.report import CorpusReport
from kebyt5.corpus.shards import Shards
from kebyt5.corpus.steps import StoredDocuments, split_of
from kebyt5.corpus.tally import Rejects
from kebyt5.errors import InputError
from tests.corpus.samples import shard_files, texts

LONG, OTHER = texts(0, 60), texts(1, 30, length=40)


@pytest.fixture
def sources(tmp_path):
    """Two files of text and one of JSON Lines, with duplicates, near duplicates and bad input."""
    (tmp_path / "a.txt").write_text("\n\n".join([*LONG, LONG[3], "짧은 글", *OTHER]))
    near = OTHER[0].replace("번째", "번 째", 1).replace(".", "!")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("\n\n".join([LONG[5], near, "English text is dropped here.", *texts(2, 40)]))
    lines = [json.dumps({"body": text}) for text in texts(3, 40)]
    lines[20:20] = [
        '{"body": "닫지 않은 줄',
        json.dumps({"body": " "}),
        json.dumps({"title": "가"}),
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    return [
        {"name": "texts", "paths": [str(tmp_path / "*.txt"), str(tmp_path / "b.txt.gz")]},
        {"name": "lines", "reader": "jsonl", "paths": str(tmp_path / "c.jsonl"), "text": "body",
         "weight": 2},
    ]  # fmt: skip


def documents(corpus, split="train"):
    return {
        source: [text for shard in shards for text in shard]
        for source, shards in Shards(corpus / split).sources.items()
    }


def test_files_may_have_names_in_cp949(build, tmp_path):
    folder = os.fsencode(tmp_path) + "/원천데이터".encode("cp949")
    os.mkdir(folder)
    with open(folder + "/신문.txt".encode("cp949"), "w", encoding="utf-8") as file:
        file.write("\n\n".join([*LONG, "짧은 글"]))
    corpus = build(sources=[{"name": "texts", "paths": str(tmp_path)}], rejects=True)
    found = documents(corpus)["texts"] + documents(corpus, "validation").get("texts", [])
    assert sorted(found) == sorted(LONG)


def test_every_document_is_in_a_shard_or_counted(build, sources, tmp_path):
    corpus = build(sources=sources, rejects=True)
    train, validation = documents(corpus), documents(corpus, "validation")
    kept = {name: train[name] + validation.get(name, []) for name in train}
    assert sorted(kept["texts"]) == sorted([*LONG, *OTHER, *texts(2, 40)])
    assert sorted(kept["lines"]) == sorted(texts(3, 40))
    assert all(split_of(text, 0.1) == "train" for found in train.values() for text in found)
    assert validation

    manifest = json.loads((corpus / "corpus.json").read_text())
    assert manifest["weights"] == {"texts": 1, "lines": 2}
    rejected = {
        source: {reason: counts[0] for reason, counts in reasons.items()}
        for source, reasons in manifest["rejected"].items()
    }
    assert rejected == {
        "texts": {"under 10 characters": 1, "under 30% Hangul": 1, "exact duplicate": 2,
                  "near duplicate": 1},
        "lines": {"not JSON": 1, "empty": 1, "no text at body": 1},
    }  # fmt: skip
    for source, (count, _) in manifest["read"].items():
        assert count == len(kept[source]) + sum(rejected[source].values())
    places = []
    for path in (corpus / "rejects").rglob("*.jsonl.gz"):
        with gzip.open(path, "rt") as file:
            places += [json.loads(line)["id"].rpartition("/")[2] for line in file]
    assert len(places) == 8
    assert {"c.jsonl:21", "c.jsonl:22", "c.jsonl:23", "b.txt.gz:5"} <= set(places)


def test_the_same_whatever_the_number_of_workers(build, sources, tmp_path):
    one = build("one", sources=sources)
    two = build("two", sources=sources, executor={"workers": 2})
    assert shard_files(one) == shard_files(two)
    assert len(shard_files(one)) >= 15
    numbers = [json.loads((corpus / "corpus.json").read_text()) for corpus in (one, two)]
    for name in ("splits", "read", "rejected"):
        assert numbers[0][name] == numbers[1][name]


def test_the_source_that_stands_first_keeps_a_duplicate(build, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(LONG[0])
    for order in ("ab", "ba"):
        sources = [{"name": name, "paths": str(tmp_path / f"{name}.txt")} for name in order]
        corpus = build(order, sources=sources, validation=0, dedup={"minhash": False})
        assert documents(corpus) == {order[0]: [LONG[0]]}


def test_replacements_are_made_before_cleaning(build, tmp_path):
    (tmp_path / "a.txt").write_text(LONG[0].replace("고양이", "<고양이:PS>"))
    source = {"name": "a", "paths": str(tmp_path / "a.txt"), "replace": [["<(.*?):PS>", r"\1"]]}
    corpus = build(sources=[source], validation=0, dedup={"exact": False, "minhash": False})
    assert documents(corpus) == {"a": [LONG[0]]}


def test_the_report_has_pages_and_pictures(build, sources):
    corpus = build(sources=sources)
    page = (corpus / "report" / "report.html").read_text()
    for name in ("bytes.png", "lengths.png", "scripts.png", "drops.png"):
        assert f'src="{name}"' in page
        assert (corpus / "report" / name).read_bytes().startswith(b"\x89PNG")
    text = (corpus / "report" / "report.md").read_text()
    assert "| lines | not JSON | 1 |" in text
    counted, known = CorpusReport.of_corpus(corpus), CorpusReport.of_manifest(corpus)
    assert counted.to_json() == known.to_json()


# Stopped and begun again


def times(corpus):
    """When each task was completed."""
    marks = (corpus / ".work" / "logs").glob("*/completions/*")
    return {str(path): path.stat().st_mtime_ns for path in marks}


def test_killed_half_way_a_rerun_does_what_is_missing(build, sources, tmp_path):
    whole = build("whole", sources=sources, executor={"workers": 2})
    recipe = yaml.safe_load((tmp_path / "whole.yaml").read_text())
    recipe["output"] = str(tmp_path / "killed")
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "kebyt5", "corpus", "build", str(tmp_path / "killed.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None and not len(times(tmp_path / "killed")) > 2:
        time.sleep(0.01)
    process.kill()
    process.communicate()  # Waits for all who could write there: workers end with the build.
    done = times(tmp_path / "killed")
    assert 2 < len(done) < len(times(whole))
    assert not (tmp_path / "killed" / "corpus.json").exists()
    with pytest.raises(InputError, match="its build has not finished"):
        CorpusReport.of_corpus(tmp_path / "killed")

    killed = build("killed", sources=sources, executor={"workers": 2})
    assert shard_files(killed) == shard_files(whole)
    assert times(killed).items() >= done.items()
    before = times(killed)
    left = killed / ".work" / "documents" / "left.jsonl"  # by a kill after the manifest
    left.parent.mkdir()
    left.touch()
    assert build("killed", sources=sources) == killed
    assert times(killed) == before
    assert not left.parent.exists()


def test_the_output_may_lie_within_a_source(build, recipe, tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n\n".join(LONG))
    sources = [{"name": "texts", "paths": str(tmp_path / "texts")}]
    with monkeypatch.context() as patch:
        patch.setattr("kebyt5.corpus.build.run_stages", lambda *_: False)  # stopped at once
        assert not build_corpus(recipe("texts/corpus", sources=sources))
    corpus = build("texts/corpus", sources=sources)
    assert len(documents(corpus)["texts"]) + len(documents(corpus, "validation")["texts"]) == 60


def test_another_recipe_or_other_files_are_not_mixed_in(build, sources, tmp_path):
    build(sources=sources)
    with pytest.raises(InputError, match="another recipe or other files was begun here"):
        build(sources=sources, validation=0.5)
    (tmp_path / "a.txt").write_text(LONG[0])
    with pytest.raises(InputError, match="another recipe or other files was begun here"):
        build(sources=sources)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        build("full", sources=sources)


# Bad input


def test_strict_stops_at_the_first_defect(build, sources):
    with pytest.raises(InputError, match=r"c.jsonl:21: not JSON \(.*\); fix it, or count"):
        build(sources=sources, strict=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_another_encoding_stops_the_build_and_its_remedy_works(build, tmp_path, workers):
    (tmp_path / "a.txt").write_text(LONG[0])
    (tmp_path / "b.txt").write_bytes(LONG[1].encode("cp949"))
    options = {"validation": 0, "executor": {"workers": workers}}
    with pytest.raises(InputError, match=r"b.txt:1: not UTF-8 but CP949 .*`encoding: cp949`"):
        build(**options)
    sources = [
        {"name": "a", "paths": str(tmp_path / "a.txt")},
        {"name": "b", "paths": str(tmp_path / "b.txt"), "encoding": "cp949"},
    ]
    assert documents(build("b", sources=sources, **options)) == {"a": [LONG[0]], "b": [LONG[1]]}


def test_nothing_left_is_an_error_with_reasons(build, tmp_path):
    (tmp_path / "a.txt").write_text("No Korean here.\n\n짧다")
    with pytest.raises(InputError, match=r"no document is left; dropped: under 10 characters 1, u"):
        build()
    with pytest.raises(InputError, match="no such file"):
        build("b", sources=[{"name": "a", "paths": str(tmp_path / "none*")}])


def test_a_second_build_in_the_same_folder_is_refused(build, recipe, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("\n\n".join(LONG))
    refused = []

    def run_stages(stages, *others, real=build_module.run_stages):
        with pytest.raises(InputError, match="another build is at work here"):
            build_corpus(recipe())
        refused.append(True)
        return real(stages, *others)

    monkeypatch.setattr(build_module, "run_stages", run_stages)
    build()
    assert refused


def test_sources_without_documents_are_reported(build, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(LONG))
    (tmp_path / "none.jsonl").touch()
    both = [
        {"name": "a", "paths": str(tmp_path / "a.txt")},
        {"name": "none", "paths": str(tmp_path / "none.jsonl"), "reader": "jsonl"},
    ]
    content = json.loads((build(sources=both) / "corpus.json").read_text())
    assert content["read"]["none"] == [0, 0]


def test_tasks_without_documents_do_not_shift_the_others(build, tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text("English only.")
    (tmp_path / "c.txt").write_text("\n\n".join([LONG[0], LONG[0], LONG[1]]))
    assert documents(build(validation=0)) == {"texts": [LONG[0], LONG[1]]}


@pytest.mark.parametrize("where", ["mark", "documents", "shards"])
def test_a_full_disk_leaves_nothing_that_looks_whole(build, tmp_path, monkeypatch, where):
    (tmp_path / "a.txt").write_text("\n\n".join(LONG))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "mark":
            patch.setattr(Path, "replace", full)
        elif where == "documents":
            patch.setattr(JsonlWriter, "_write", full)
        else:
            patch.setattr("kebyt5.corpus.shards.ShardWriter._finish_shard", full)
        with pytest.raises(InputError, match=f"{tmp_path}/corpus.*: No space left on device"):
            build(validation=0)
    assert not (tmp_path / "corpus" / "corpus.json").exists()
    assert not list((tmp_path / "corpus").rglob("*.manifest.json"))
    assert documents(build(validation=0)) == {"texts": LONG}


def test_what_a_full_disk_stopped_writes_no_more(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rejects = Rejects(tmp_path / "tally", "short", tmp_path / "texts")
    monkeypatch.setattr(rejects.writer, "close", full)
    monkeypatch.setattr("kebyt5.corpus.tally.write_json", full)

    def drop():
        with rejects:
            rejects.write(Document("가", "a:1", metadata={"source": "a"}), 0)
            raise InputError("no room")

    with pytest.raises(InputError, match="no room"):
        drop()


def test_documents_that_are_lost_on_the_way_are_missed(build, sources, monkeypatch):
    def lose(self, filepath):
        yield from list(read_file(self, filepath))[1:]

    read_file = StoredDocuments.read_file
    monkeypatch.setattr(StoredDocuments, "read_file", lose)
    with pytest.raises(InputError, match=r"documents were read, but .* kept and .* dropped; a"):
        build(sources=sources, dedup={"exact": False, "minhash": False}, executor={"workers": 1})


def test_a_file_between_stages_that_is_damaged_is_named(tmp_path):
    (tmp_path / "00000.jsonl").write_text('{"text": "가", "id": "0"}\n{"text": "나", "i')
    documents = StoredDocuments(tmp_path).run(rank=0)
    assert next(documents).text == "가"
    with pytest.raises(InputError, match=r"00000\.jsonl:2: damaged: "):
        next(documents)


def test_an_altered_shard_is_refused(build, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(LONG))
    corpus = build(validation=0)
    (shard,) = (corpus / "train" / "texts").glob("*.bytes")
    data = shard.read_bytes()
    shard.write_bytes(data.replace("강".encode(), "산".encode(), 1))
    with pytest.raises(InputError, match="checksum"):
        CorpusReport.of_corpus(corpus)
    shard.write_bytes(data[:-1])
    with pytest.raises(InputError, match="bytes"):
        CorpusReport.of_corpus(corpus)
    shutil.rmtree(corpus / "train" / "texts")
    with pytest.raises(InputError, match="no shards"):
        CorpusReport.of_corpus(corpus)


def test_lone_surrogates_become_replacement_characters(build, tmp_path):
    line = '{"text": "' + LONG[0] + '\\ud83d"}'
    (tmp_path / "a.jsonl").write_text(line)
    source = {"name": "a", "reader": "jsonl", "paths": str(tmp_path / "a.jsonl")}
    corpus = build(sources=[source], validation=0)
    assert documents(corpus) == {"a": [LONG[0] + "\ufffd"]}


def test_the_shipped_recipe_names_files_that_exist(klue_data, monkeypatch):
    monkeypatch.setenv("KEBYT5_DATA", str(klue_data))
    root = Path(__file__).resolve().parents[2]
    config = load_config(root / "scripts" / "corpus" / "tiny.yaml")
    assert len(source_files(config)) >= 26
    assert all("_train" in unit.file for unit in source_files(config) if "klue" in unit.file)


def test_building_needs_sources_with_files(recipe):
    with pytest.raises(InputError, match="matches none"):
        build_corpus(recipe())
