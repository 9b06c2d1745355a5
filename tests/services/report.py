"""Runs checks one after the other, and prints what each of them tells."""
import shutil
import time
import traceback


class Report:
    def __init__(self, folder, width):
        """`folder` is removed in the end if nothing failed; `width`: letters of the longest name."""
        self.folder, self.width, self.passed, self.failed = folder, width, 0, 0

    def run(self, name, check):
        """A check returns what it saw; what it raises fails it, and not the others."""
        began = time.monotonic()
        try:
            told = check()
        except Exception as error:
            told = error if isinstance(error, AssertionError) else traceback.format_exc()
            print(f"FAIL  {name:{self.width}} {told}", flush=True)
            self.failed += 1
        else:
            print(f"ok    {name:{self.width}} {told} ({time.monotonic() - began:.1f} s)", flush=True)
            self.passed += 1

    def clear(self):
        if self.failed:
            print(f"logs: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def exit(self):
        print(f"{self.passed} passed, {self.failed} failed")
        raise SystemExit(1 if self.failed or not self.passed else 0)
