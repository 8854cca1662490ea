"""Reads rollbook's JSON answers for the demo's shell.

    read.py field NAME        the value at a name; dots descend, `last` is a list's last item
    read.py pending           what is waited for, one per line, from `rollbook status ROLLOUT --json`:
                              closed OUTCOME | gate ID PERSON,PERSON | manual ID PERSON,PERSON | stuck WHAT WHY;
                              and which watch runs: watching ID
    read.py step ID           a step's status and verdict
    read.py times             a table of the steps' durations
    read.py comparison        the latest comparison: counts and totals by deal type
    read.py tsa               how many deals have a TSA cost; exits 1 unless all of them are carve-outs
    read.py advice            the decision tree's latest advice, if any

Reads standard input; exits 3 if the requested value is absent.
"""

import json
import sys


def fail(message):
    print(f"demo: {message}", file=sys.stderr)
    sys.exit(3)


def load():
    try:
        return json.load(sys.stdin)
    except ValueError as error:
        fail(f"rollbook's answer is not JSON: {error}")


def field(answer, path):
    for name in path.split("."):
        if isinstance(answer, list) and answer and name == "last":
            answer = answer[-1]
            continue
        if not isinstance(answer, dict) or name not in answer:
            fail(f"rollbook's answer has no {path}")
        answer = answer[name]
    if isinstance(answer, (dict, list, bool)) or answer is None:
        return json.dumps(answer)
    return str(answer)


def steps(answer):
    for phase in answer["data"]["phases"]:
        yield from phase["steps"]


def persons(who):
    """The persons of `role: alice or bob` entries; an entry without a role names one person."""
    return ",".join(name for entry in who for name in entry.split(": ")[-1].split(" or "))


def pending(answer):
    """Blocked entries, by who can unblock them: a person's step or signature, time, or nobody yet."""
    if answer["data"].get("outcome"):
        yield f"closed {answer['data']['outcome']}"
        return
    kinds = {step["step"]: step["kind"] for step in steps(answer)}
    for step in steps(answer):
        if step["kind"] == "watch" and step["status"] == "running":
            yield f"watching {step['step']}"
    for blocked in answer.get("blocked", []):
        what, _, name = blocked["what"].partition(" ")
        who = blocked.get("who", [])
        if blocked.get("until") or who == ["time"]:
            continue
        how = blocked.get("how") or ""
        if what == "gate" and who and how.startswith("rollbook approve"):
            yield f"gate {name} {persons(who)}"
        elif what == "step" and kinds.get(name) == "manual" and how.startswith("rollbook complete"):
            yield f"manual {name} {persons(who)}"
        else:
            yield f"stuck {blocked['what']}: {blocked['why']}"


def times(answer):
    timed = [step for step in steps(answer) if step.get("duration_ms") is not None]
    if not timed:
        fail("rollbook's answer has no step with a duration")
    total = sum(step["duration_ms"] for step in timed)
    for step in sorted(timed, key=lambda step: -step["duration_ms"]):
        share = 100 * step["duration_ms"] / total if total else 0
        yield f"  {step['duration_ms'] / 1000:8.1f} s {share:5.1f} %  {step['step']:<22} {step['title']}"
    yield f"  {total / 1000:8.1f} s          in {len(timed)} steps"


def advice(answer):
    given = answer["data"]["advice"]
    if not given:
        fail("there is no advice")
    latest = given[-1]
    yield f"{latest['advice']} ({latest['rule']}: {', '.join(latest.get('inputs', []))})"


def comparison(answer):
    made = answer["data"]["comparisons"]
    if not made:
        fail("nothing has been compared")
    latest = made[-1]
    counts = ("compared", "equal", "regressions", "warnings", "expected", "ignored", "missing", "added")
    yield "  " + ", ".join(f"{latest[name]} {name}" for name in counts)
    for total in latest["totals"]:
        before, after = total["before_cents"], total["after_cents"]
        ratio = f"{after / before:.3f} x" if before else "-"
        yield f"  {total['deal_type']:<12} {total['deals']:>6} deals  ${before / 100:>18,.2f} -> ${after / 100:>18,.2f}  {ratio}"


def tsa(answer):
    compared = [step for step in steps(answer) if step["kind"] == "compare" and step["measurements"]]
    if not compared:
        fail("nothing has been compared")
    step = compared[-1]
    figures = {measured["metric"]: measured.get("value") for measured in step["measurements"]}
    deals, elsewhere = figures.get("tsa_deals"), figures.get("tsa_elsewhere")
    if deals is None or elsewhere is None:
        fail(f"step {step['step']} did not count the deals with a TSA cost")
    if elsewhere or not deals:
        print(f"  TSA NOT only on carveouts: {elsewhere:.0f} of {deals:.0f} deals with a TSA cost are no carve-outs")
        sys.exit(1)
    yield f"  TSA only on carveouts: {deals:.0f} deals have a TSA cost, {deals - elsewhere:.0f} of them are carve-outs (step {step['step']})"


def main(arguments):
    if arguments[:1] == ["field"] and len(arguments) == 2:
        print(field(load(), arguments[1]))
        return
    if arguments[:1] == ["step"] and len(arguments) == 2:
        print(*(f"{step['status']} {step['verdict'] or ''}" for step in steps(load()) if step["step"] == arguments[1]))
        return
    reports = {"pending": pending, "times": times, "advice": advice, "comparison": comparison, "tsa": tsa}
    if len(arguments) != 1 or arguments[0] not in reports:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    for line in reports[arguments[0]](load()):
        print(line)


main(sys.argv[1:])
