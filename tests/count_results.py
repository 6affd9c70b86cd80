"""Adds up what tests/run.sh ran: `count_results.py RUNS`, RUNS being lines of tab-separated

    step    NAME  EXIT                a build or an install: counts only when it failed
    ctest   NAME  EXIT  JUNIT  CASES  ctest's --output-junit file, and the folder of the tests' own XML files
    pytest  NAME  EXIT  JUNIT         a pytest --junitxml file
    skip    NAME  0     REASON        what could not be run here: counts as one that was skipped

A test of ctest whose own XML file is there counts as the cases in it, any other as one. Whatever ended badly without a
failed case to show for it (a crash, a timeout, a leak found at exit, no XML at all) is one failure. Prints what was
skipped and what failed; the last line is `N passed, N failed, N skipped`. Exit code 0: nothing failed, something passed.
"""

import os
import re
import sys
import xml.etree.ElementTree as ElementTree


class Results:
    def __init__(self):
        self.passed = 0
        self.failed = []   # what
        self.skipped = []  # (what, reason)

    def fail(self, what):
        self.failed.append(what)


def read_xml(path):
    """The root element, or None. Control characters that a test printed are not XML and are dropped."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return ElementTree.fromstring(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", f.read()))
    except (OSError, ElementTree.ParseError):
        return None


def count_cases(results, name, root):
    """Counts the test cases of GoogleTest's or pytest's XML; returns the number of failed ones."""
    failures = 0
    for case in root.iter("testcase"):
        what = f"{name}: {case.get('classname', '')}.{case.get('name', '')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            results.fail(what)
            failures += 1
        elif skipped is not None:
            lines = (skipped.get("message") or skipped.text or "no reason given").strip().splitlines()
            results.skipped.append((what, lines[-1] if lines else "no reason given"))
        elif case.get("status") == "notrun":
            results.skipped.append((what, "disabled"))
        else:
            results.passed += 1
    return failures


def count_pytest(results, name, exit_code, junit):
    root = read_xml(junit)
    failures = 0 if root is None else count_cases(results, name, root)
    if root is None or (exit_code != 0 and failures == 0):
        results.fail(f"{name}: pytest ended with exit code {exit_code}")


def count_ctest(results, name, exit_code, junit, cases_folder):
    root = read_xml(junit)
    if root is None:
        results.fail(f"{name}: ctest left no results (exit code {exit_code})")
        return
    tests = list(root.iter("testcase"))
    failures_before = len(results.failed)
    for test in tests:
        count_ctest_test(results, name, test, cases_folder)
    if not tests or (exit_code != 0 and len(results.failed) == failures_before):
        results.fail(f"{name}: ctest ran {len(tests)} tests and ended with exit code {exit_code}")


def count_ctest_test(results, name, test, cases_folder):
    what = f"{name}: {test.get('name')}"
    status = test.get("status")
    skipped = test.find("skipped")
    reason = "" if skipped is None else skipped.get("message", "")
    if status == "disabled" or reason.startswith("SKIP_"):
        output = (test.findtext("system-out") or "").strip().splitlines()
        results.skipped.append((what, output[-1] if output else "no reason given"))
    elif status == "notrun":
        results.fail(f"{what}: not run: {reason or 'no reason given'}")
    else:
        cases = read_xml(os.path.join(cases_folder, test.get("name") + ".xml"))
        failures = 0 if cases is None else count_cases(results, what, cases)
        if status == "fail" and failures == 0:
            results.fail(f"{what}: ended badly without a failed case: a crash, a timeout, or a finding at exit")
        elif status != "fail" and cases is None:
            results.passed += 1


def count(lines):
    results = Results()
    for line in lines:
        kind, name, exit_code, *paths = line.rstrip("\n").split("\t")
        if kind == "ctest":
            count_ctest(results, name, int(exit_code), *paths)
        elif kind == "pytest":
            count_pytest(results, name, int(exit_code), *paths)
        elif kind == "skip":
            results.skipped.append((name, *paths))
        elif int(exit_code) != 0:
            results.fail(f"{name}: exit code {exit_code}")
    return results


def main(arguments):
    if len(arguments) != 1:
        sys.exit("usage: count_results.py RUNS")
    with open(arguments[0], encoding="utf-8") as f:
        results = count(f)
    if results.skipped:
        print("\nskipped:")
        for what, reason in results.skipped:
            print(f"  {what}: {reason}")
    if results.failed:
        print("\nfailed:")
        for what in results.failed:
            print(f"  {what}")
    print()
    print(f"{results.passed} passed, {len(results.failed)} failed, {len(results.skipped)} skipped")
    return 0 if results.passed and not results.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
