"""Only `pytest tutorial/exercises` grades the exercises: they begin unsolved, and test nothing else here."""
from pathlib import Path


def pytest_ignore_collect(collection_path, config):
    """True, ignore it, unless this folder or something in it was asked for."""
    here = Path(__file__).resolve().parent
    for argument in config.args:
        path = argument.split("::")[0]
        asked = Path(config.invocation_params.dir, path).resolve()
        if asked.is_relative_to(here):
            return None
    return True
