"""unit_tests(deps): a folder of tests/unit, each *_test.c a program with its own main.

Other .c and .h files of the folder are helpers, linked into each test.
"""

def unit_tests(deps, exclude = [], **kwargs):
    helpers = native.glob(
        ["*.c", "*.h"],
        exclude = ["*_test.c"] + exclude,
        allow_empty = True,
    )
    for source in native.glob(["*_test.c"], exclude = exclude, allow_empty = True):
        native.cc_test(
            name = source[:-len(".c")],
            size = "small",
            srcs = [source] + helpers,
            deps = deps + ["//tests/support:check"],
            **kwargs
        )
