"""Re-ranking: what is right among the candidates, and the shares of each way, on cases worked by hand."""
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import reranking


def scenes(*things):
    """Scenes of one thing each, from (object, colour, background)."""
    objects, colours, backgrounds = np.array(things).T
    return {"kind": np.zeros(len(things)), "object": np.stack([objects, objects + 1], axis=1),
            "colour": np.stack([colours, colours + 1], axis=1), "background": backgrounds}


def test_a_picture_is_right_in_what_it_shows_first():
    """The second object of a scene is not shown, and does not count."""
    right = reranking.what_is_right(scenes((1, 2, 3), (2, 2, 3), (1, 4, 3)), scenes((1, 2, 3), (2, 4, 0)))
    assert right["object"].tolist() == [[True, False, True], [False, True, False]]
    assert right["colour"].tolist() == [[True, True, False], [False, False, True]]
    assert right["background"].tolist() == [[True] * 3, [False] * 3]
    assert right["all three"].tolist() == [[True, False, False], [False] * 3]


def test_shares_by_hand():
    """Of four captions: one chosen rightly, one wrongly, one that no candidate is right for, one that came right."""
    right = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=bool)
    fit = np.array([[0.1, 0.9, 0.2], [0.1, 0.9, 0.2], [0.1, 0.9, 0.95], [0.5, 0.9, 0.6]])
    order = np.array([[2, 1], [1, 0], [1, 0], [0, 1]])
    assert reranking.shares(right, fit, order) == {"best possible": 0.75, "re-ranked": 0.25, "as they came": 0.25}


def test_one_candidate_leaves_no_choice_and_a_model_that_knows_reaches_the_best_possible():
    rng = np.random.default_rng(0)
    right = rng.random((50, 30)) < 0.1
    order = rng.permuted(np.tile(np.arange(30), (50, 1)), axis=1)
    alone = reranking.shares(right, rng.random((50, 30)), order[:, :1])
    assert len(set(alone.values())) == 1
    knows = reranking.shares(right, right.astype(float), order[:, :8])
    assert knows["re-ranked"] == knows["best possible"] > knows["as they came"]


def test_the_measure_counts_against_the_captions_of_the_scenes(monkeypatch):
    """A stand-in whose fit is that of the scenes themselves finds all that is there."""
    world, all_scenes, _ = reranking.candidates()
    wanted = world.scenes(world.rng(5), 20, "single")
    fit = torch.from_numpy(reranking.what_is_right(all_scenes, wanted)["object"]).float()  # (20, 512)
    monkeypatch.setattr(reranking, "how_well", lambda model, tokenizer, texts, images: fit[:len(texts)])

    class Lab:
        budget = 0.01
        seeds = (3, 4)

        def clip(self, seed):
            return None, None

    rows = reranking.measure(Lab())
    assert len(rows) == 2 * 4 * 4
    for row in rows:
        if row["asked"] == "object":
            assert row["re-ranked"] == row["best possible"]
        assert row["as they came"] <= row["best possible"] and row["re-ranked"] <= row["best possible"]
    assert reranking.draw(rows).get_size_inches()[0] == 8.5
