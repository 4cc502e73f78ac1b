"""`tokenledger top` shows what calls cost right now."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

import pytest

from support.command_line import fill_ledger, run

ROWS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, feature, cost_status, cost_usd, input_tokens, output_tokens,
     status)
VALUES
    (now() - interval '30 seconds', 'openai', 'gpt-4o', 'chat', 'priced', 0.5, 100, 10, 'success'),
    (now() - interval '20 seconds', 'openai', 'gpt-4o', 'chat', 'priced', 0.25, 100, 10, 'error'),
    (now() - interval '30 minutes', 'openai', 'acme-7b', 'chat', 'unpriced', NULL, 7, 7, 'success'),
    (now() - interval '30 minutes', 'openai', 'gpt-4o', 'search', 'priced', 1, 100, 10, 'success'),
    (now() - interval '5 hours', 'openai', 'gpt-4o', 'old', 'priced', 4, 100, 10, 'success')
"""


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def test_a_frame_has_the_recent_periods_the_groups_and_the_coverage() -> None:
    lines = run("top", "--once", "--by", "feature").stdout.splitlines()
    cells = [line.split() for line in lines]
    # 0.5 + 0.25 = 0.75; with 1 it is 1.75; with 4 it is 5.75.
    assert ["cost", "$", "0.750000", "1.750000+", "5.750000+"] in cells
    assert ["calls", "2", "4", "5"] in cells
    # 2 in 60 s, 4 in 3,600 s, 5 in 86,400 s.
    assert ["calls", "per", "second", "0.033", "0.001", "0.000"] in cells
    # 1 of 2, 1 of 4, 1 of 5.
    assert ["errors", "1", "(50.0%)", "1", "(25.0%)", "1", "(20.0%)"] in cells
    assert "highest cost by feature, last hour" in lines
    groups = [line for line in cells if line and line[0] in {"search", "chat", "old"}]
    assert [line[:4] for line in groups] == [
        ["search", "1.000000", "1", "0"],
        ["chat", "0.750000+", "3", "1"],
    ]
    assert lines[-1] == "last 24 h: coverage: 4 of 5 calls priced (80.0%), 1 unpriced"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_hours_and_filters_apply_to_the_groups() -> None:
    text = run("top", "--by", "feature", "--hours", "24", "--where", "model=gpt-4o").stdout
    assert "highest cost by feature, last 24 h" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("old")] == ["4.000000"]
    assert "unpriced" not in text
    assert run("top", "--by", "nonsense").exit_code == 2
    assert run("top", "--by", "").stderr == "tokenledger: --by needs a dimension, such as model\n"


def test_a_ledger_without_calls_has_a_frame_too() -> None:
    assert "no calls" in run("top", "--where", "feature=none").stdout


def test_a_live_view_ends_cleanly() -> None:
    main_end, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    words = [sys.executable, "-m", "tokenledger_exporter", "top", "--every", "0.2"]
    with subprocess.Popen(words, stdout=other_end, stderr=subprocess.PIPE, text=True) as top:
        os.close(other_end)
        screen = b""
        while screen.count(b"Ctrl-C to quit") < 2:
            screen += os.read(main_end, 4_096)
        top.send_signal(signal.SIGINT)
        try:
            while part := os.read(main_end, 4_096):
                screen += part
        except OSError:
            # Linux reports the end of a terminal as an error.
            pass
        assert top.wait(30) == 0
        assert top.stderr
        assert top.stderr.read() == ""
    os.close(main_end)
    # The cursor is hidden while it runs.
    assert screen.startswith(b"\x1b[?25l")
    assert screen.endswith(b"\x1b[?25h")
