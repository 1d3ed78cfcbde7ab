# expect: status=EXITED
class Evil:
    def __repr__(self):
        raise RuntimeError
    __str__ = __repr__
raise SystemExit(Evil())
