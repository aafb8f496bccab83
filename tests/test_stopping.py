"""SIGTERM, also where a library swallows the exception that it raises."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SWALLOWED = "while True:\n        try:\n            time.sleep(0.05)\n        except BaseException:\n            pass"
ANOTHER_ERROR = "try:\n        time.sleep(60)\n    except BaseException:\n        raise ValueError('kernel died')"
GOES_ON = "try:\n        time.sleep(60)\n    except BaseException:\n        pass"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("body", ["time.sleep(60)", SWALLOWED, ANOTHER_ERROR, GOES_ON])
@pytest.mark.parametrize("delay", [0, 0.07])
def test_it_always_ends_with_143_and_so_does_what_was_started(tmp_path, body, delay):
    code = f"""
import subprocess, sys, time
from bac_utils import __main__ as cli, _stopping
_stopping.PATIENCE_S = 0.5
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
with cli._one_line_errors(), _stopping.helpers_end_with(lambda last: helper.kill()):
    print(helper.pid, flush=True)
    {body}
print("went on", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            helper = int(process.stdout.readline())
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 143 and process.stdout.read() == ""
        finally:
            process.kill()
    state, end = Path(f"/proc/{helper}/stat"), time.monotonic() + 20  # a killed process needs a moment
    while state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)
