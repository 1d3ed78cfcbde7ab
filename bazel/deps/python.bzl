"""@embedded_python: the CPython of /usr/bin/python3, with the flags its own python3-config gives.

A fixed path on purpose: `python3` on the PATH may be a version manager's, whose libpython the
service would then depend on.
"""

_CONFIG = "/usr/bin/python3-config"

def _flags(ctx, args):
    got = ctx.execute([_CONFIG] + args)
    if got.return_code != 0:
        fail("%s %s failed (Debian package python3-dev): %s" % (_CONFIG, " ".join(args), got.stderr))
    return [f for f in got.stdout.replace("\n", " ").split(" ") if f]

def _impl(ctx):
    if not ctx.path(_CONFIG).exists:
        fail("%s is missing: install the Debian package python3-dev (bazel/test does it)" % _CONFIG)
    folders = []
    for flag in _flags(ctx, ["--includes"]):
        if not flag.startswith("-I"):
            fail("unexpected flag %s from %s" % (flag, _CONFIG))
        if flag[2:] not in folders:
            folders.append(flag[2:])
    for i in range(len(folders)):
        ctx.symlink(folders[i], "include%d" % i)
    ctx.file("BUILD", """
cc_library(
    name = "python",
    hdrs = glob(["include*/**/*.h"]),
    includes = {includes},
    linkopts = {linkopts},
    visibility = ["@pyexecd//bazel/deps:__pkg__"],
)
""".format(
        includes = repr(["include%d" % i for i in range(len(folders))]),
        linkopts = repr(_flags(ctx, ["--ldflags", "--embed"])),
    ))

embedded_python = repository_rule(
    implementation = _impl,
    local = True,
)
