"""Tests of what is kept of an engine's words."""

import pytest

from baseload.engines import journal
from baseload.engines.journal import Journal


@pytest.fixture
def log(tmp_path):
    return Journal(tmp_path / "logs" / "cpu.log")


def test_loading_is_kept_whole_and_serving_only_as_far_as_it_tells_of_crashes(log):
    """Once it serves, what may quote a caller is counted instead of written."""
    log.begin("start 1")
    log.hear("loading a model")
    log.serving()
    log.hear("root ::= caller's secret")
    log.hear("/src/ggml/ggml.c:123: GGML_ASSERT(x > 0) failed")
    log.end("killed by SIGABRT")

    kept = log.path.read_text()

    assert "loading a model" in kept
    assert "secret" not in kept
    assert "GGML_ASSERT(x > 0) failed" in kept
    assert "killed by SIGABRT; 1 lines that may quote callers not kept" in kept


def test_the_cause_is_the_first_error_while_loading(log):
    """llama.cpp's first error tells the cause; those after it only say that there was one."""
    log.begin("start 1")
    for line in ("hello", "0.00.039.259 E load: not within the file bounds", "0.00.05 E exiting"):
        log.hear(line)

    assert "load: not within the file bounds" == log.cause()


def test_the_cause_is_a_failed_assertion_however_much_is_said_of_it(log):
    """A debugger that llama.cpp calls has many more lines to say, and they end in nothing."""
    log.begin("start 1")
    log.hear("/src/ggml/ggml.c:3355: GGML_ASSERT(ggml_can_mul_mat(a, b)) failed")
    for number in range(2 * journal.LINES_KEPT):
        log.hear(f"#{number} 0x00007f in main ()")
    log.hear("[Inferior 1 (process 12373) detached]")

    assert "/src/ggml/ggml.c:3355: GGML_ASSERT(ggml_can_mul_mat(a, b)) failed" == log.cause()


def test_the_cause_is_the_last_line_of_anything_else(log):
    """A Python traceback ends in what happened."""
    log.begin("start 1")
    for line in (
        "Traceback (most recent call last):",
        "ModuleNotFoundError: no xllamacpp",
        "",
        " ",
    ):
        log.hear(line)

    assert "ModuleNotFoundError: no xllamacpp" == log.cause()


def test_what_was_said_before_serving_is_no_cause_of_a_later_death(log):
    """An engine that dies while serving, without a word, has no known cause."""
    log.begin("start 1")
    log.hear("0.00.1 E could not open something optional")
    log.serving()

    assert "" == log.cause()


def test_the_file_is_rotated_before_it_outgrows_its_bound(log, monkeypatch):
    """File and predecessor each stay within the bound, and the newest line is always there."""
    monkeypatch.setattr(journal, "LOG_MAX_BYTES", 1000)
    for number in range(100):
        log.hear(f"line {number} " + "x" * 50)
        older = log.path.with_name("cpu.log.1")

        assert log.path.stat().st_size <= 1000
        assert not older.exists() or older.stat().st_size <= 1000

    assert "line 99 " in log.path.read_text()
    assert {"cpu.log", "cpu.log.1"} == {file.name for file in log.path.parent.iterdir()}


def test_a_log_that_cannot_be_written_harms_nobody(tmp_path):
    """An engine works on without its log, and its cause of death is still known."""
    (tmp_path / "logs").write_text("a file where the folder should be")
    log = Journal(tmp_path / "logs" / "cpu.log")
    log.begin("start 1")
    log.hear("what happened")

    assert "what happened" == log.cause()
