"""Grade the exercises of the tutorial, and say in a sentence what is wrong. Points are grades of difficulty.

    python tutorial/grade.py                      a scoreboard of all chapters
    python tutorial/grade.py 3 6.2                of chapter 3 and exercise 6.2
    python tutorial/grade.py 3.2 --hint 1         the first of three hints
    python tutorial/grade.py --json grades.json   the scoreboard as a file too
    python tutorial/grade.py --all DIR            each folder in DIR is a student's: grades.csv, feedback.txt
    python tutorial/grade.py --train              a CLIP of your own functions, trained for two minutes

Each exercise runs in a process of its own (sandbox.py) that gets inputs and returns outputs; they are
compared here.
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

# ---- The list of exercises -----------------------------------------------------------------------

HEADING = re.compile(r"## (\d+\.\d+) (\S+) \((\w+), difficulty (\d), (\d+) minutes\)\n"
                     r"1\. (.*?)\n2\. (.*?)\n3\. (.*?)\n", re.S)


@dataclass
class Exercise:
    """What hints.md says of an exercise, the file that it is in, and the function that checks it."""
    number: str  # "3.2"
    function: str
    kind: str
    difficulty: int
    minutes: int
    hints: list
    file: str
    check: object

    @property
    def chapter(self):
        return chapter_of(self.number)


def chapter_of(number):
    """"3.2" -> "3"."""
    return number.split(".")[0]


def read_exercises():
    """-> {"3.2": Exercise, ...} in order, from hints.md and the checks."""
    modules = {}  # chapter -> the name of the module with its checks, such as check_03_text
    for path in (HERE / "exercises/checks").glob("check_*.py"):
        chapter = int(path.stem.split("_")[1])
        modules[str(chapter)] = path.stem
    exercises = {}
    text = (HERE / "hints.md").read_text("utf-8")
    for number, function, kind, difficulty, minutes, *hints in HEADING.findall(text):
        name = modules[chapter_of(number)]
        checks = importlib.import_module(name)
        exercises[number] = Exercise(
            number=number,
            function=function,
            kind=kind,
            difficulty=int(difficulty),
            minutes=int(minutes),
            hints=[" ".join(hint.split()) for hint in hints],
            file=name.replace("check_", "ch") + ".py",
            check=getattr(checks, "check_" + number.replace(".", "_")),
        )
    return exercises


def choose(exercises, wanted):
    """["3", "6.2"] -> the exercises of chapter 3 and 6.2; all for []. ValueError for what there is not."""
    for word in wanted:
        if not any(word in (exercise.number, exercise.chapter) for exercise in exercises.values()):
            raise ValueError(f"no exercise or chapter {word}; there are {', '.join(exercises)}")
    if not wanted:
        return list(exercises.values())
    return [e for e in exercises.values() if e.number in wanted or e.chapter in wanted]


# ---- A student's code, which runs in another process ---------------------------------------------

GRADIENTS = """
    trained = [x for x in arguments if torch.is_tensor(x) and x.is_floating_point()]
    for x in trained:
        x.requires_grad_()
    out = getattr(student, name)(*arguments)
    (out * weight).sum().backward()
    return [out.detach(), *[x.grad for x in trained]]
"""


class Student:
    """What a check sees of a student's file: its functions. work(source, inputs) runs them elsewhere."""

    def __init__(self, work):
        self.work = work

    def run(self, source, **inputs):
        """Run `source`, the body of a function of `student` and the inputs -> what it returns."""
        return self.work(source, inputs)

    def __getattr__(self, name):
        """student.attention(q, k, v) runs the student's function."""
        def function(*arguments):
            return self.run(f"return student.{name}(*arguments)", arguments=list(arguments))

        return function

    def gradients(self, name, *arguments, weight=1.0):
        """-> [what the function returns, the gradients of its weighted sum for each floating tensor]."""
        return self.run(GRADIENTS, name=name, arguments=list(arguments), weight=weight)


class Sandbox:
    """The process beside this one that runs one student's files; started anew after it had to be killed."""

    def __init__(self, seconds=10):
        self.seconds = seconds  # that an exercise may take
        self.process = None
        self.busy = False  # whether it has the file of an exercise
        self.endless = {}  # path of a file whose import did not end -> what the student is told

    # ---- The process and its messages ----

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "sandbox.py")],  # -P: a student's code can't import grade.py
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"})
        self.lines = queue.Queue()
        threading.Thread(target=listen, args=(self.process.stdout, self.lines.put), daemon=True).start()
        if self.lines.get(timeout=300) != b'"ready"\n':  # torch is loaded
            raise OSError("the process for students' code does not start; try: python tutorial/sandbox.py")

    def kill(self):
        """End it, with all that the student's code has started."""
        if self.process is not None:
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
        seconds_left = self.deadline - time.time()
        return json.loads(self.lines.get(timeout=max(0.01, seconds_left)))

    # ---- An exercise ----

    def grade(self, exercise, folder):
        """One exercise of a folder of files -> its line of the scoreboard."""
        started = time.time()
        share = 0.0  # of its points
        message = ""
        try:
            self.begin(Path(folder, exercise.file).resolve())
            exercise.check(Student(self.ask))
            share = 1.0
        except Wrong as wrong:
            share = wrong.share
            message = str(wrong)
        except Exception as error:  # of a check that took it apart
            message = f"what it returns has another form than the docstring says ({error})"
        self.finish()
        return {
            "exercise": exercise.number,
            "function": exercise.function,
            "points": share * exercise.difficulty,
            "of": exercise.difficulty,
            "message": message,
            "seconds": round(time.time() - started, 2),
        }

    def begin(self, path):
        """Tell the process which file; the time for the exercise runs from here."""
        if not path.is_file():
            raise Wrong(f"there is no {path.name}")
        if path in self.endless:
            raise Wrong(self.endless[path])
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.busy = True
        self.path = path
        self.imported = False
        self.deadline = time.time() + self.seconds
        self.say(str(path))

    def ask(self, source, inputs):
        """-> what the student's code returns. Wrong if it raises, ends its process or takes too long."""
        try:
            self.say({"source": source, "inputs": pack(inputs)})
            reply = self.hear()
            if reply == "imported":
                self.imported = True
                reply = self.hear()
            if "value" in reply:
                return unpack(reply["value"])
            self.busy = reply != "ended"
            message = explain(reply)
        except queue.Empty:
            self.kill()
            message = f"not finished after {self.seconds:g} seconds: an endless loop?"
            if not self.imported:
                message = (f"the import of {self.path.name} has not ended after {self.seconds:g} seconds:"
                           " an endless loop outside its functions?")
                self.endless[self.path] = message
        except Exception:  # what came out was no answer
            self.kill()
            message = "the answer could not be read"
        raise Wrong(message)

    def finish(self):
        """Let the exercise's process end; without fork that is this one's only process."""
        if self.process is not None and self.busy:
            try:
                self.deadline = time.time() + 2
                self.say(None)
                self.busy = self.hear() != "ended"
            except Exception:  # it does not answer, or nonsense
                self.busy = True
        if self.process is not None and (self.busy or not hasattr(os, "fork")):
            self.kill()
        self.busy = False


def listen(stream, put):
    """Pass on each line of a process's output; an empty one at its end."""
    for line in stream:
        put(line)
    put(b"")


def explain(reply):
    """What the sandbox says of an exception, or of its end -> a sentence for the student."""
    if reply == "ended":
        return "the process of your code has ended: out of memory, a crash, or an exit"
    if reply["error"] == "NotImplementedError":
        return f"not written yet: {reply['message']}"
    sentence = f"{reply['error']}: {reply['message']}"
    if reply["line"] is not None:
        sentence += f" (line {reply['line']})"
    return sentence


# ---- Scoreboards ---------------------------------------------------------------------------------


def grade(exercises, folders, seconds=10, progress=True):
    """-> a row for each exercise. Progress is shown where errors go, if that is a terminal.

    folders: {"ch03_text.py": the folder that has this file, ...}
    """
    progress = progress and sys.stderr.isatty()
    sandbox = Sandbox(seconds)
    rows = []
    try:
        for exercise in exercises:
            rows.append(sandbox.grade(exercise, folders[exercise.file]))
            if progress:
                print(f"\r{len(rows)} of {len(exercises)} graded", end="", file=sys.stderr, flush=True)
    finally:
        sandbox.kill()
    if progress:
        print(file=sys.stderr)
    return rows


def scoreboard(rows):
    """Rows of `grade` -> lines, with sums for each chapter."""
    chapters = {}
    for row in rows:
        chapters.setdefault(chapter_of(row["exercise"]), []).append(row)
    lines = []
    for chapter, chapter_rows in chapters.items():
        for row in chapter_rows:
            mark = "+" if row["points"] == row["of"] else "-"
            line = (f"{mark} {row['exercise']:5} {row['function']:28} {row['points']:4.1f} of {row['of']}"
                    f"  {row['message']}")
            lines.append(line.rstrip())
        lines.append(f"  chapter {chapter}: {sum_up(chapter_rows)}\n")
    lines.append(f"all: {sum_up(rows)}")
    return lines


def sum_up(rows):
    """Rows -> "7 of 13 points"."""
    points = sum(row["points"] for row in rows)
    return f"{points:g} of {sum(row['of'] for row in rows)} points"


def grade_all(exercises, root, seconds):
    """Grade each folder in root: a line of root/grades.csv, written as it goes, and a feedback.txt in it."""
    path = Path(root, "grades.csv")
    check_table(path)
    folders = sorted(folder for folder in Path(root).iterdir() if folder.is_dir())
    with open(path, "w", newline="", encoding="utf-8", errors="replace") as file:
        table = csv.writer(file)
        table.writerow([*FIRST_COLUMNS, *[exercise.number for exercise in exercises]])
        for i, folder in enumerate(folders, 1):
            if is_passed_over(folder.name):
                print(f"{i} of {len(folders)}: {folder.name} is passed over", flush=True)
                continue
            found, notes = find_files(folder, exercises)
            rows = grade(exercises, {e.file: found.get(e.file, folder) for e in exercises}, seconds, progress=False)
            lines = [*notes, *scoreboard(rows)]
            (folder / "feedback.txt").write_text("\n".join(lines) + "\n", "utf-8", errors="replace")
            missing = dict.fromkeys(e.chapter for e in exercises if e.file not in found)
            points = [row["points"] for row in rows]
            table.writerow([folder.name, sum(points), sum(row["of"] for row in rows), " ".join(missing), *points])
            file.flush()
            print(f"{i} of {len(folders)}: {folder.name}, {sum_up(rows)}", flush=True)
            for note in notes:
                print(f"    {note}", flush=True)


FIRST_COLUMNS = ["student", "points", "of", "chapters not handed in"]


def check_table(path):
    """FileExistsError if there is a table that this program has not written."""
    if path.exists() and not path.read_bytes().startswith(b"student,points,of,"):
        raise FileExistsError(f"{path}: exists and was not written by this program; move it to another place")


def is_passed_over(name):
    """Whether a folder has no work of students: .git, .history, __MACOSX, backups."""
    return name.startswith((".", "__")) or "backup" in name.lower()


def find_files(folder, exercises):
    """Where the files of the exercises are in a student's folder, at any depth -> {file: its folder}, lines of notes.

    Of several copies of a file the one nearest the top counts. Each other one is noted.
    """
    names = {exercise.file for exercise in exercises}
    found = {}
    notes = []
    paths = [path.relative_to(folder) for path in folder.rglob("ch*.py") if path.name in names]
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        if any(is_passed_over(part) for part in path.parent.parts):
            notes.append(f"passed over: {path}")
        elif path.name in found:
            notes.append(f"passed over: {path}; another {path.name} is as near the top, or nearer")
        else:
            found[path.name] = folder / path.parent
    return found, notes


# ---- Command line --------------------------------------------------------------------------------


def parse(argv):
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="grade.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("wanted", nargs="*", metavar="N", help="chapters (3) or exercises (6.2); all without")
    add("--folder", default=HERE / "exercises", metavar="DIR", help="with the files (default: %(default)s)")
    add("--hint", type=int, choices=[1, 2, 3], help="print this hint for an exercise, and stop")
    add("--json", metavar="FILE", help="write the scoreboard as JSON too")
    add("--all", metavar="DIR", help="grade all folders in DIR")
    add("--train", action="store_true", help="train a CLIP of your own functions")
    add("--minutes", type=float, default=2, help="to train for, with --train (default: %(default)s)")
    add("--model", choices=["tiny-RN", "tiny-ViT"], default="tiny-RN", help="to train (default: %(default)s)")
    add("--seconds", type=float, default=10, help="for each exercise (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("folder", "json", "all"):
        if getattr(args, name) == "":
            parser.error(f'--{name} "" names nothing')  # a shell makes that of a variable that is not set
    return args


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # names that the console can't show are printed with "?"
    args = parse(argv)
    try:
        exercises = choose(read_exercises(), args.wanted)
        if args.hint:
            for exercise in exercises:
                print(f"{exercise.number} {exercise.function}: {exercise.hints[args.hint - 1]}")
        elif args.train:
            train(exercises, args)
        elif args.all:
            grade_all(exercises, args.all, args.seconds)
        else:
            rows = grade(exercises, all_in(args.folder, exercises), args.seconds)
            print("\n".join(scoreboard(rows)))
            if args.json:
                Path(args.json).write_text(json.dumps(rows, indent=1), "utf-8")
    except (ValueError, OSError) as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngrade.py: stopped", file=sys.stderr)
        return 130
    return 0


def all_in(folder, exercises):
    """-> {file: folder} for the files of all exercises, which are in this one."""
    return {exercise.file: folder for exercise in exercises}


def train(exercises, args):
    """Grade the exercises that a training needs, and train with those that pass."""
    # nothing is shown: the backend that this variable names is not needed, and may not be installed
    os.environ.pop("MPLBACKEND", None)
    import own_clip  # of all files here the one that needs the rest of the repository
    used = [exercise for exercise in exercises if exercise.number in own_clip.USED]
    rows = grade(used, all_in(args.folder, used), args.seconds)
    own_clip.train(rows, args.folder, args.minutes, args.model)


if __name__ == "__main__":
    sys.exit(main())
