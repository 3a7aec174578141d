"""Runs the commands of a page of the docs as one session, and compares what it says that they answer.

Every block of `sh` is run. A command that ends with `# → TEXT` must print TEXT somewhere; it may fail, since some
examples show a refusal. Every other command must succeed.
"""

import re
import subprocess
from pathlib import Path

from node import aws_environment

PAGE_LIMIT_SECONDS = 300
ANSWER = re.compile(r"\s+# → (?P<answer>.*)$")


def blocks(text):
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def script(block):
    """Makes a script that stops at the first command whose answer is another; quotes are the shell's business."""
    lines, command = [], []
    for line in block.splitlines():
        found = ANSWER.search(line)
        if found is None:
            command.append(line)
            # A command goes on behind a backslash, and a document ends with its word.
            if not line.endswith("\\"):
                lines += command
                command = []
            continue
        command.append(line[:found.start()])
        lines.append("answer=$({ " + "\n".join(command) + "\n} 2>&1) || true")
        wanted = "'" + found["answer"].strip().replace("'", "'\\''") + "'"
        lines.append(f'case $answer in *{wanted}*) ;; *) echo "wanted {found["answer"]!r} of: {command[0]!r}"; '
                     'echo "$answer"; exit 1;; esac')
        command = []
    return "\n".join(lines)


def run_page(page, node, venv, directory):
    """Raises AssertionError with what was printed if a command does not answer as the page says. Returns how many
    answers were compared."""
    text = Path(page).read_text()
    scripts = [script(block) for block in blocks(text)]
    assert scripts, f"{page} has no commands"
    settings = aws_environment(node.endpoint, directory)
    settings["PATH"] = f"{Path(venv) / 'bin'}:{Path(node.binary).resolve().parent}:{settings['PATH']}"
    # The commands of operators go through the socket of the data directory.
    settings["RINGBOLT_DATA"] = str(node.data())
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(scripts)], env=settings, cwd=directory,
                          capture_output=True, text=True, timeout=PAGE_LIMIT_SECONDS)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}: {(done.stdout + done.stderr).strip()[-800:]}")
    return text.count("# → ")
