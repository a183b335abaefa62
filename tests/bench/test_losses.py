"""This package trains in the same way as its alternatives."""

from kebyt5.bench.losses import train_alternatives
from kebyt5.cli.bench import bench
from kebyt5.models.feed_forward import GatedGELU

NAMES = ["transformers-eager", "kebyt5", "naive-gbst", "kebyt5-gbst"]


def test_curves_of_what_computes_the_same_overlay():
    curves = train_alternatives("tiny", NAMES, steps=6, batch_size=2)
    assert set(curves.pairs()) == {("transformers-eager", "kebyt5"), ("naive-gbst", "kebyt5-gbst")}
    for name, other in curves.pairs():
        assert curves.losses[name][-1] < 0.8 * curves.losses[name][0]
        assert max(curves.apart(name, other)) < 1e-4


def test_a_wrong_gradient_shows(monkeypatch):
    right = GatedGELU.backward

    def wrong(ctx, grad):
        gate, value, _ = right(ctx, grad)
        return 0.9 * gate, value, None

    monkeypatch.setattr(GatedGELU, "backward", staticmethod(wrong))
    curves = train_alternatives("tiny", ["transformers-sdpa", "kebyt5"], steps=6, batch_size=2)
    assert max(curves.apart("transformers-sdpa", "kebyt5")) > 1e-4


def test_page_and_plot(tmp_path):
    command = ["losses", "--steps", "2", "--alternatives", "naive-gbst", "kebyt5-gbst"]
    bench([*command, "--output", str(tmp_path)], result_action="return_value")
    page = (tmp_path / "bench-losses.md").read_text()
    assert page.startswith("# Loss curves, tiny\n\n![Loss curves, tiny](bench-losses.png)\n")
    assert "| naive GBST + Transformers | kebyt5, GBST |" in page
    assert (tmp_path / "bench-losses.png").exists()


def test_what_does_not_train_is_left_out():
    curves = train_alternatives("tiny", ["ctranslate2-int8", "kebyt5-gbst"], steps=1)
    assert list(curves.losses) == ["kebyt5-gbst"]
