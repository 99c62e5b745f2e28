"""Lets the tests import the three files from the folder above, and leaves slow tests to `pytest -m slow`."""
import os
import signal
import sys
from functools import cache, wraps
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models gain nothing from more, and lose much beside other work
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Shells let what they start in the background ignore Ctrl-C, and its children too; tests of Ctrl-C need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def pictograms_are_rendered_once():
    """Each World renders its hundred pictograms, and the tests make hundreds of worlds."""
    import train_tiny
    render = train_tiny.render

    @cache
    def rendered(glyphs, size, font):
        return render(glyphs, size, font)

    @wraps(render)
    def once(glyphs, size=32, font=train_tiny.FONT):
        return rendered(tuple(glyphs), size, font).clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_tiny, "render", once)
        yield


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; runs with -m slow only")


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow; runs with -m slow"))
    items.sort(key=lambda item: item.originalname == "test_the_code_of_each_chapter_runs")  # see test_chapters.runs
