"""`baseload up` as a user meets it: a process, its ports, a real model, signals."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.needs import need_the_engine

READY_S_MAX = 60.0
MODEL = "smollm2-135m-instruct"


class Up:
    """A running `baseload up` on free ports; `lines` is what it printed."""

    def __init__(self, folder: Path, backends: str = "", tier: str = "") -> None:
        file = folder / "fleet.yaml"
        file.write_text(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
            f"state_dir: {folder}\ndrain_s: 20\n"
            f"backends:\n  cpu: {{engine: llama.cpp, model: {MODEL}}}\n{backends}"
            f"models:\n  deepseek-chat:\n    tiers:\n{tier}"
            f"      - cpu: {{model: {MODEL}}}\n    first_token_s: 60\n    stall_s: 60\n"
        )
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "baseload", "up", "-c", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        return self.find(r"at (http://\S+)/v1")

    @property
    def admin(self) -> str:
        return self.find(r"Operators: (http://\S+)")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)

    def find(self, pattern: str) -> str:
        """Wait until a printed line matches; give its first group."""
        until = time.monotonic() + READY_S_MAX
        while time.monotonic() < until:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern} never came:\n{''.join(self.lines)}")

    def is_ready(self) -> bool:
        return httpx.get(f"{self.admin}/readyz", timeout=10).status_code == 200

    def wait_ready(self) -> float:
        """Wait until the gateway serves; give how many seconds that took."""
        began = time.monotonic()
        while not self.is_ready():
            assert time.monotonic() - began < READY_S_MAX, "".join(self.lines)
            time.sleep(0.05)
        return time.monotonic() - began

    def ask(self, **more) -> httpx.Response:
        body = {"model": "deepseek-chat", "max_tokens": 8, **more}
        body.setdefault("messages", [{"role": "user", "content": "Say hello."}])
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)

    def engine_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        return code


@contextlib.contextmanager
def _up(folder: Path, **parts: str) -> Iterator[Up]:
    need_the_engine()
    running = Up(folder, **parts)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(10)
        running._reader.join(10)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with _up(tmp_path_factory.mktemp("up")) as running:
        running.wait_ready()
        yield running


def test_curl_gets_real_text(up: Up):
    """A model's text comes back; the answer names the model and the place that made it."""
    answer = up.ask()

    assert 200 == answer.status_code
    assert MODEL == answer.json()["model"]
    assert "cpu" == answer.headers["x-baseload-backend"]
    assert answer.json()["choices"][0]["message"]["content"].strip()
    assert answer.json()["usage"]["completion_tokens"] > 0


def test_the_openai_sdk_works_with_only_the_base_url_changed(up: Up):
    """Streamed and not, chat and completions; both with and without `/v1` in the base URL."""
    texts = []
    for base_url in (f"{up.url}/v1", up.url):
        with openai.OpenAI(base_url=base_url, api_key="unused") as client:
            question = [{"role": "user", "content": "What is a river?"}]
            kept = {"model": "deepseek-chat", "max_tokens": 12, "temperature": 0, "seed": 1}
            whole = client.chat.completions.create(messages=question, **kept)
            stream = client.chat.completions.create(messages=question, stream=True, **kept)
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            plain = client.completions.create(prompt="A river is", **kept)
            texts.append((whole.choices[0].message.content, "".join(pieces)))

            assert len(pieces) > 3
            assert plain.choices[0].text.strip()
            assert "deepseek-chat" in [model.id for model in client.models.list()]
    whole_text, streamed_text = texts[0]

    assert whole_text.strip() == streamed_text.strip()
    assert texts[0] == texts[1]


def test_the_terminal_says_how_to_try_it(up: Up):
    """The line to paste works as it is printed."""
    line = up.find(r"^  (curl .*)$")
    done = subprocess.run(
        ["bash", "-c", f"{line} --silent --max-time 60"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert '"choices"' in done.stdout


def test_status_and_ask_speak_to_it(up: Up):
    """The verbs find a running gateway; one draws it, the other streams an answer."""
    verb = [sys.executable, "-m", "baseload"]
    status = subprocess.run(
        [*verb, "status", "--url", up.admin], capture_output=True, text=True, check=True
    )
    asked = subprocess.run(
        [*verb, "ask", "Say hello.", "--url", up.url, "-m", "deepseek-chat", "--max-tokens", "8"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "serving" in status.stdout
    assert asked.stdout.strip()
    assert f"{MODEL} at cpu" in asked.stderr


def test_embeddings_come_from_the_engine_too(up: Up):
    """The third path that asks a model answers with numbers."""
    answer = httpx.post(
        f"{up.url}/v1/embeddings", json={"model": "deepseek-chat", "input": "rain"}, timeout=60
    )

    assert len(answer.json()["data"][0]["embedding"]) > 100


def test_metrics_count_what_was_served(up: Up):
    """A call shows up under its model, its backend and its outcome."""
    up.ask()
    text = httpx.get(f"{up.admin}/metrics", timeout=10).text

    assert re.search(
        r'baseload_calls_total\{backend="cpu",model="deepseek-chat",outcome="done"\} \d', text
    )
    assert 'baseload_backend_up{backend="cpu"} 1.0' in text


def test_a_killed_engine_comes_back_while_the_gateway_answers(up: Up):
    """Meanwhile callers get 503 with Retry-After; then the next engine serves."""
    up.wait_ready()
    os.kill(up.engine_pid(), signal.SIGKILL)
    seen, until = [], time.monotonic() + READY_S_MAX
    while time.monotonic() < until:
        answer = up.ask(max_tokens=1)
        seen.append((answer.status_code, answer.headers.get("retry-after")))
        if len(seen) > 1 and answer.status_code == 200:
            break
        time.sleep(0.02)

    assert 200 == seen[-1][0]
    assert {(503, "2"), (503, "3")} & set(seen)  # About two seconds, with jitter.
    assert {200, 502, 503} >= {status for status, _ in seen}
    assert "killed by SIGKILL" in "".join(up.lines)


def test_an_unreachable_first_tier_is_not_noticed(tmp_path: Path):
    """With the first tier gone, the answer comes from the second and says so."""
    gone = "  gone: {url: http://127.0.0.1:9/v1}\n"
    with _up(tmp_path, backends=gone, tier="      - gone: {model: big}\n") as running:
        running.find(r"engine (cpu) is ready")
        answers = [running.ask(max_tokens=1) for _ in range(8)]

    assert [(200, "cpu")] * 8 == [
        (answer.status_code, answer.headers["x-baseload-backend"]) for answer in answers
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_exits_with_0(number: signal.Signals, tmp_path: Path):
    """An answer that has begun is finished; no process is left behind."""
    with _up(tmp_path) as running:
        running.wait_ready()
        engine = running.engine_pid()
        body = {
            "model": "deepseek-chat",
            "messages": [{"role": "user", "content": "Tell a long story."}],
            "max_tokens": 40,
            "stream": True,
            "ignore_eos": True,
        }
        with httpx.stream(
            "POST", f"{running.url}/v1/chat/completions", json=body, timeout=60
        ) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            running.process.send_signal(number)
            rest = [line for line in lines if line]
        code = running.process.wait(60)

    assert 0 == code
    assert first.startswith("data: {")
    assert "data: [DONE]" == rest[-1]
    assert not Path(f"/proc/{engine}").exists()


def test_a_taken_port_is_a_clear_error(up: Up, tmp_path: Path):
    """The message names the field, the address and the reason, and the exit code is 1."""
    file = tmp_path / "taken.yaml"
    address = up.url.removeprefix("http://")
    file.write_text(
        f"listen: {address}\nadmin: 127.0.0.1:0\nbackends:\n  a: {{url: http://127.0.0.1:9/v1}}\n"
        "models:\n  m:\n    tiers:\n      - a: {model: m}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "baseload", "up", "-c", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert 1 == done.returncode
    assert f"`listen: {address}` cannot be listened on" in done.stderr
    assert "in use" in done.stderr
