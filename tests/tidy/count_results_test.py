"""What CI counts: nothing that went wrong may be missing from the last line."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import count_results  # noqa: E402  (a script of the folder above)

GTEST = """<testsuites><testsuite name="A">
<testcase name="Good" status="run" result="completed" classname="A"/>
{}
</testsuite></testsuites>"""


@pytest.fixture
def ctest(tmp_path):
    """ctest(tests, cases, exit) -> (passed, failed, skipped) of one ctest run."""
    def run(tests, cases=None, exit_code=0):
        (tmp_path / "junit.xml").write_text(f"<testsuite>{tests}</testsuite>")
        for name, text in (cases or {}).items():
            (tmp_path / (name + ".xml")).write_text(text)
        return counts([f"ctest\tci\t{exit_code}\t{tmp_path}/junit.xml\t{tmp_path}\n"])
    return run


def counts(lines):
    results = count_results.count(lines)
    return results.passed, len(results.failed), len(results.skipped)


def test_a_binary_counts_as_its_cases(ctest):
    cases = GTEST.format('<testcase name="Bad" status="run" classname="A"><failure message="x"/></testcase>'
                         '<testcase name="No" status="run" result="skipped"><skipped message="no GPU"/></testcase>'
                         '<testcase name="DISABLED_Off" status="notrun" result="suppressed"/>')
    assert ctest('<testcase name="t" status="fail"><failure/></testcase>', {"t": cases}, 8) == (1, 1, 2)


def test_what_has_no_cases_counts_as_one(ctest):
    assert ctest('<testcase name="a" status="run"/><testcase name="b" status="fail"/>', exit_code=8) == (1, 1, 0)


def test_a_crash_without_cases_is_a_failure(ctest):
    assert ctest('<testcase name="t" status="fail"><failure/></testcase>', exit_code=8) == (0, 1, 0)


def test_a_finding_at_exit_after_passed_cases_is_a_failure(ctest):
    assert ctest('<testcase name="t" status="fail"/>', {"t": GTEST.format("")}, 8) == (1, 1, 0)


def test_a_binary_that_is_not_there_is_a_failure(ctest):
    assert ctest('<testcase name="t" status="notrun"><skipped message="Unable to find executable"/></testcase>',
                 exit_code=8) == (0, 1, 0)


def test_skipped_and_disabled_tests_are_skipped(ctest):
    assert ctest('<testcase name="a" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
                 '<testcase name="b" status="disabled"/>') == (0, 0, 2)


def test_no_test_at_all_is_a_failure(ctest):
    assert ctest("") == (0, 1, 0)


def test_an_exit_code_that_no_test_explains_is_a_failure(ctest):
    assert ctest('<testcase name="t" status="run"/>', exit_code=1) == (1, 1, 0)


def test_results_that_are_missing_or_torn_are_a_failure(tmp_path):
    (tmp_path / "torn.xml").write_text("<testsuite><testcase")
    assert counts([f"ctest\tci\t1\t{tmp_path}/none.xml\t{tmp_path}\n"]) == (0, 1, 0)
    assert counts([f"ctest\tci\t0\t{tmp_path}/torn.xml\t{tmp_path}\n"]) == (0, 1, 0)
    assert counts([f"pytest\tp\t3\t{tmp_path}/none.xml\n"]) == (0, 1, 0)
    assert counts([f"pytest\tp\t0\t{tmp_path}/none.xml\n"]) == (0, 1, 0)


def test_pytest_counts_its_cases(tmp_path):
    (tmp_path / "p.xml").write_text('<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure/></testcase>'
                                    '<testcase name="c"><error/></testcase><testcase name="d"><skipped message="e"/>'
                                    "</testcase></testsuite></testsuites>")
    assert counts([f"pytest\tp\t1\t{tmp_path}/p.xml\n"]) == (1, 2, 1)


def test_output_with_control_characters_is_read(ctest):
    assert ctest('<testcase name="t" status="run"><system-out>\x1b[1m\x00</system-out></testcase>') == (1, 0, 0)


def test_only_a_failed_step_counts():
    assert counts(["step\tbuild ci\t0\n"]) == (0, 0, 0)
    assert counts(["step\tbuild ci\t2\n"]) == (0, 1, 0)


def test_what_could_not_be_run_is_listed_with_its_reason(tmp_path, capsys):
    assert counts(["skip\tgpu\t0\tno CUDA toolkit\n"]) == (0, 0, 1)
    (tmp_path / "runs").write_text("skip\tgpu\t0\tno CUDA toolkit\n")
    count_results.main([str(tmp_path / "runs")])
    assert "  gpu: no CUDA toolkit" in capsys.readouterr().out


def test_the_last_line_and_the_exit_code(tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.write_text("step\tbuild ci\t2\n")
    assert count_results.main([str(runs)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"
    runs.write_text("")
    assert count_results.main([str(runs)]) == 1
    (tmp_path / "p.xml").write_text('<testsuite><testcase name="a"/></testsuite>')
    runs.write_text(f"pytest\tp\t0\t{tmp_path}/p.xml\n")
    assert count_results.main([str(runs)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"
