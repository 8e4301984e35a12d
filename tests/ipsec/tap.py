"""Test Anything Protocol: 'ok 1 - what was seen', with the reason below where it was not."""
import subprocess
import sys
import traceback

from topo import Failed


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def line(self, ok, what, reason=""):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {what}")
        for part in (str(reason).splitlines() if not ok else []):
            print(f"# {part}")
        sys.stdout.flush()
        return ok

    def check(self, what, seen, reason=""):
        """A condition that is known already."""
        return self.line(bool(seen), what, reason)

    def does(self, what, action, *args, **options):
        """Something that works, or raises; a value of None or False is no success either."""
        try:
            value = action(*args, **options)
        except (Failed, OSError, subprocess.SubprocessError) as fault:
            self.line(False, what, fault)
            return None
        except Exception:
            self.line(False, what, traceback.format_exc())
            return None
        self.line(value is not False, what, "it did not")
        return value

    def end(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0
