"""Lets the tests import clip_minimal.py from the folder above, from wherever pytest is started."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
