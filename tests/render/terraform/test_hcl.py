"""Values in Terraform's language."""

import os
import shutil
import subprocess
from pathlib import Path

from baseload.render.terraform.hcl import Setting, settings_text, value_text
from tests.needs import give_up

ODD = (
    Setting(name="text", value='a "quoted" ${NAME} %{if} back\\slash\nline\ttab é', about="Two\nlines."),
    Setting(name="none", value=None),
    Setting(name="much_longer_name", value=True),
    Setting(name="list", value=["a", 1, [], {}]),
    Setting(name="a", value=1.5),
    Setting(name="bc", value=2.0),
    Setting(name="map", value={"plain": 1, "with space": {"x": [1], "long_name": 2}}),
)  # fmt: skip


def test_values_are_written_as_terraform_reads_them():
    """Quotes, backslashes and what would begin an interpolation are escaped; lists nest."""
    assert '"$${A} %%{if} \\"q\\" \\\\ \\n"' == value_text('${A} %{if} "q" \\ \n')
    assert "null" == value_text(None)
    assert "true" == value_text(True)
    assert "2" == value_text(2.0)
    assert "[]" == value_text([])
    assert '{\n  a = 1\n  "b c" = [\n    2,\n  ]\n}' == value_text({"a": 1, "b c": [2]})


def test_what_is_written_is_formatted_and_read_back(tmp_path: Path):
    """`terraform fmt` leaves the text as it is, and Terraform reads the values that were meant."""
    if shutil.which("terraform") is None:
        give_up("terraform 1.11 or newer")
    (tmp_path / "odd.tfvars").write_text(settings_text(ODD), "utf-8")
    names = "".join(
        f'variable "{each.name}" {{}}\noutput "{each.name}" {{\n  value = jsonencode(var.{each.name})\n}}\n'
        for each in ODD
    )
    (tmp_path / "main.tf").write_text(names)

    def terraform(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"],
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": os.devnull,
        }
        return subprocess.run(
            ["terraform", *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (0, "") == (
        terraform("fmt", "-check", "odd.tfvars").returncode,
        terraform("fmt", "-check", "odd.tfvars").stdout,
    )
    applied = terraform("apply", "-auto-approve", "-no-color", "-var-file=odd.tfvars")
    assert 0 == applied.returncode, applied.stderr
    read = terraform("output", "-raw", "text").stdout
    assert '"a \\"quoted\\" ${NAME} %{if} back\\\\slash\\nline\\ttab é"' == read
    (tmp_path / "odd.tfvars").write_text("a  = 1\nbc = 1\nccc = 2\n")
    assert 3 == terraform("fmt", "-check", "odd.tfvars").returncode
