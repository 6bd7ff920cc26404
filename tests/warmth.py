"""What the first command of a process makes and keeps: made here once, before ``warm_process`` forks the others."""

from __future__ import annotations

from parity import run_file
from parity.report import pages

run_file._adapter()
templates = pages._environment()
for name in templates.list_templates():
    templates.get_template(name)
