"""Grade the exercises of the tutorial. A point for each grade of difficulty; what is wrong is said in a sentence.

    python tutorial/grade.py                      a scoreboard of all chapters
    python tutorial/grade.py 3 6.2                of chapter 3 and exercise 6.2
    python tutorial/grade.py 3.2 --hint 1         the first of three hints
    python tutorial/grade.py --json grades.json   the scoreboard as a file too
    python tutorial/grade.py --all DIR            each folder in DIR is a student's: DIR/grades.csv, a feedback.txt each
    python tutorial/grade.py --train              a CLIP of your own functions, trained for two minutes

Each exercise runs in a process of its own (sandbox.py) that gets inputs and returns outputs; they are compared here.
"""
import argparse
import csv
import importlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "exercises/checks")]
from compare import Wrong
from sandbox import pack, unpack

HEADING = re.compile(r"## (\d+\.\d+) (\S+) \((\w+), difficulty (\d), (\d+) minutes\)\n"
                     r"1\. (.*?)\n2\. (.*?)\n3\. (.*?)\n", re.S)
GRADIENTS = """
    arguments = [x.requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x for x in arguments]
    out = getattr(student, name)(*arguments)
    (out * weight).sum().backward()
    return [out.detach(), *(x.grad for x in arguments if torch.is_tensor(x) and x.requires_grad)]
"""


@dataclass
class Exercise:
    """What hints.md says of one, the file that it is in, and the function that checks it."""
    number: str
    function: str
    kind: str
    difficulty: int
    minutes: int
    hints: list
    file: str
    check: object


def read_exercises():
    """-> {"3.2": Exercise, ...} in order, from hints.md and the checks."""
    exercises = {}
    files = {path.stem[6:8]: path.stem for path in (HERE / "exercises/checks").glob("check_*.py")}
    for number, function, kind, difficulty, minutes, *hints in HEADING.findall((HERE / "hints.md").read_text("utf-8")):
        checks = files[number.split(".")[0].zfill(2)]
        check = getattr(importlib.import_module(checks), "check_" + number.replace(".", "_"))
        exercises[number] = Exercise(number, function, kind, int(difficulty), int(minutes), hints,
                                     checks.replace("check_", "ch") + ".py", check)
    return exercises


class Student:
    """What a check sees of a student's file: its functions, which run elsewhere."""

    def __init__(self, work):
        self.run = lambda source, **inputs: work(source, inputs)

    def __getattr__(self, name):
        return lambda *arguments: self.run(f"return student.{name}(*arguments)", arguments=list(arguments))

    def gradients(self, name, *arguments, weight=1.0):
        """-> [what the function returns, the gradients of its weighted sum for each floating tensor]."""
        return self.run(GRADIENTS, name=name, arguments=list(arguments), weight=weight)


class Sandbox:
    """The process beside this one that runs one student's files; started anew after it had to be killed."""

    def __init__(self, seconds=10):
        self.seconds, self.process = seconds, None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "sandbox.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self.lines = queue.Queue()
        threading.Thread(target=listen, args=(self.process.stdout, self.lines.put), daemon=True).start()
        if self.lines.get(timeout=300) != b'"ready"\n':  # torch is loaded
            raise OSError("the process for students' code does not start; try: python tutorial/sandbox.py")

    def kill(self):
        """End it, with all that the student's code has started."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (AttributeError, OSError):  # on Windows; none of the group is left
                self.process.kill()
            self.process.wait()
        self.process = None

    def say(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.lines.get(timeout=max(0.01, self.until - time.time())))

    def ask(self, source, inputs):
        """-> what the student's code returns. Wrong if it raises, ends its process or takes too long."""
        try:
            self.say({"source": source, "inputs": pack(inputs)})
            reply = self.hear()
            if "value" in reply:
                return unpack(reply["value"])
            self.busy = reply != "ended"
            message = "the process of your code has ended: out of memory, a crash, or an exit" if not self.busy else (
                f"not written yet: {reply['message']}" if reply["error"] == "NotImplementedError" else
                f"{reply['error']}: {reply['message']}" + f" (line {reply['line']})" * (reply["line"] is not None))
        except queue.Empty:
            self.kill()
            message = f"not finished after {self.seconds:g} seconds: an endless loop?"
        except Exception:  # what came out was no answer
            self.kill()
            message = "the answer could not be read"
        raise Wrong(message)

    def grade(self, exercise, folder):
        """One exercise of a folder of files -> its line of the scoreboard."""
        path, start, share, message = Path(folder, exercise.file).resolve(), time.time(), 0.0, ""
        try:
            if not path.is_file():
                raise Wrong(f"there is no {exercise.file}")
            if not self.process or self.process.poll() is not None:
                self.start()
            self.busy, self.until = True, time.time() + self.seconds
            self.say(str(path))
            exercise.check(Student(self.ask))
            share = 1.0
        except Wrong as wrong:
            share, message = wrong.share, str(wrong)
        except Exception as error:  # of a check that took it apart
            message = f"what it returns has another form than the docstring says ({error})"
        self.finish()
        return {"exercise": exercise.number, "function": exercise.function, "points": share * exercise.difficulty,
                "of": exercise.difficulty, "message": message, "seconds": round(time.time() - start, 2)}

    def finish(self):
        """Let the exercise's process end; without fork that is this one's only process."""
        try:
            if self.process and self.busy:
                self.until = time.time() + 2
                self.say(None)
                self.busy = self.hear() != "ended"
        except Exception:  # it does not answer, or nonsense
            self.busy = True
        if self.process and (self.busy or not hasattr(os, "fork")):
            self.kill()
        self.busy = False


def listen(stream, put):
    """Pass on each line of a process's output; an empty one at its end."""
    for line in stream:
        put(line)
    put(b"")


# ---- Scoreboards -----------------------------------------------------------------------------------------------------


def chosen(exercises, wanted):
    """["3", "6.2"] -> the exercises of chapter 3 and 6.2; all for []. ValueError for what there is not."""
    for word in wanted:
        if not any(number == word or number.split(".")[0] == word for number in exercises):
            raise ValueError(f"no exercise or chapter {word}; there are {', '.join(exercises)}")
    return [e for e in exercises.values() if not wanted or {e.number, e.number.split(".")[0]} & {*wanted}]


def scoreboard(rows):
    """Rows of Sandbox.grade -> lines, with sums for each chapter."""
    lines, chapters = [], {}
    for row in rows:
        chapters.setdefault(row["exercise"].split(".")[0], []).append(row)
    for chapter, some in chapters.items():
        for row in some:
            mark = "+" if row["points"] == row["of"] else "-"
            lines.append(f"{mark} {row['exercise']:5} {row['function']:28} {row['points']:4.1f} of {row['of']}  "
                         f"{row['message']}".rstrip())
        lines.append(f"  chapter {chapter}: {total(some)}\n")
    return lines + [f"all: {total(rows)}"]


def total(rows):
    return f"{sum(row['points'] for row in rows):g} of {sum(row['of'] for row in rows)} points"


def grade(exercises, folder, seconds=10, progress=True):
    """-> a row for each exercise. Progress is shown where errors go, if that is a terminal."""
    rows, sandbox, progress = [], Sandbox(seconds), progress and sys.stderr.isatty()
    try:
        for exercise in exercises:
            rows.append(sandbox.grade(exercise, folder))
            if progress:
                print(f"\r{len(rows)} of {len(exercises)} graded", end="", file=sys.stderr, flush=True)
    finally:
        sandbox.kill()
    if progress:
        print(file=sys.stderr)
    return rows


def grade_all(exercises, root, seconds):
    """Each folder in root -> root/grades.csv with a line for each, written as it goes, and in each a feedback.txt."""
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    with open(Path(root, "grades.csv"), "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["student", "points", "of", *(e.number for e in exercises)])
        for i, folder in enumerate(folders, 1):
            files = [path for path in sorted(folder.rglob("ch*.py")) if path.name in {e.file for e in exercises}]
            found = files[0].parent if files else folder
            rows = grade(exercises, found, seconds, progress=False)
            (folder / "feedback.txt").write_text("\n".join(scoreboard(rows)) + "\n", "utf-8")
            table.writerow([folder.name, sum(row["points"] for row in rows), sum(row["of"] for row in rows),
                            *(row["points"] for row in rows)])
            file.flush()
            print(f"{i} of {len(folders)}: {folder.name}, {total(rows)}", flush=True)


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    parser = argparse.ArgumentParser(prog="grade.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("wanted", nargs="*", metavar="N", help="chapters (3) or exercises (6.2); all without")
    add("--folder", default=HERE / "exercises", metavar="DIR", help="where the files are (default: %(default)s)")
    add("--hint", type=int, choices=[1, 2, 3], help="print this hint for an exercise, and stop")
    add("--json", metavar="FILE", help="write the scoreboard as JSON too")
    add("--all", metavar="DIR", help="grade all folders in DIR")
    add("--train", action="store_true", help="train a CLIP of your own functions")
    add("--minutes", type=float, default=2, help="to train for, with --train (default: %(default)s)")
    add("--model", choices=["tiny-RN", "tiny-ViT"], default="tiny-RN", help="to train (default: %(default)s)")
    add("--seconds", type=float, default=10, help="for each exercise (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        exercises = chosen(read_exercises(), args.wanted)
        if args.hint:
            print("\n".join(f"{e.number} {e.function}: {' '.join(e.hints[args.hint - 1].split())}" for e in exercises))
        elif args.train:
            import own_clip  # of all files here the one that needs the rest of the repository
            used = [e for e in exercises if e.number in own_clip.USED]
            own_clip.train(grade(used, args.folder, args.seconds), args.folder, args.minutes, args.model)
        elif args.all:
            grade_all(exercises, args.all, args.seconds)
        else:
            rows = grade(exercises, args.folder, args.seconds)
            print("\n".join(scoreboard(rows)))
            if args.json:
                Path(args.json).write_text(json.dumps(rows, indent=1), "utf-8")
    except (ValueError, OSError) as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
