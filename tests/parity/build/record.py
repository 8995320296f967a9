"""Compare with a Docker Engine, and record its answers: python -m tests.parity.build.record HOST [--again] [NAME…]

Only cases without an answer, or those named, are built with Docker; --again builds all of them.
"""

import json
import sys
import tempfile
from pathlib import Path

from engine.build.container_run import ContainerRun
from tests.parity.build import case as cases
from tests.parity.build import generate
from tests.parity.build.builders import Composer, Docker
from tests.parity.build.world import write_context

HERE = Path(__file__).parent
ANSWERS = HERE / "answers.json"


def known():
    """The recorded answers by case."""
    return json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}


def write(answers):
    """One case per line, so that a change shows the affected cases."""
    lines = [f"{json.dumps(name)}: {json.dumps(answers[name], ensure_ascii=False)}" for name in sorted(answers)]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def prepared(case, folder):
    """A new context for the case."""
    context = Path(tempfile.mkdtemp(dir=folder))
    write_context(context)
    case.write(context)
    return context


def difference(ours, theirs):
    """What differs, line by line."""
    found = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if mine == other:
            continue
        if isinstance(mine, list) and isinstance(other, list):
            found += [f"  {name} ours   {one}" for one in mine if one not in other]
            found += [f"  {name} docker {one}" for one in other if one not in mine]
            if sorted(mine) == sorted(other):
                found.append(f"  {name}: the order differs")
        else:
            found.append(f"  {name}: ours {mine!r}, docker {other!r}")
    return found


def main(host, *names):
    again = "--again" in names
    names = [name for name in names if name != "--again"]
    answers = known()
    docker = Docker(host) if host != "-" else None
    with tempfile.TemporaryDirectory() as folder:
        run = None

        def run_for(roots):
            nonlocal run
            run = ContainerRun(roots)
            return run

        composer = Composer(folder, run_for)
        different = 0
        for case in (*cases.read(HERE / "cases.txt"), *generate.cases()):
            if names and case.name not in names:
                continue
            context = prepared(case, folder)
            if docker and (again or names or case.name not in answers):
                answers[case.name] = docker(case, context)
                write(answers)
            if case.name not in answers:
                continue
            ours = composer(case, context)
            lines = difference(ours, answers[case.name])
            if lines:
                different += 1
                print(f"=== {case.name}")
                print("\n".join(lines))
                for who in (composer, docker):
                    if who and who.message:
                        print("   ", who.message.strip().replace("\n", "\n    ")[-600:])
        print(f"{different} differ")
        run.close()
        composer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
