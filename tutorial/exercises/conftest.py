"""Exercises are graded by `pytest tutorial/exercises` alone: they begin unsolved, and are no tests of this code."""
from pathlib import Path


def pytest_ignore_collect(collection_path, config):
    here = Path(__file__).resolve().parent
    asked = (Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args)
    return None if any(path.is_relative_to(here) for path in asked) else True
