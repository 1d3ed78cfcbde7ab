"""@system_protobuf: protoc, protoc-c and the well-known types of Debian's packages."""

_TOOLS = {
    "protoc": "protobuf-compiler",
    "protoc-c": "protobuf-c-compiler",
}
_PROTOS = ["any", "descriptor", "duration", "timestamp"]

def _link(ctx, source, target, package):
    if not ctx.path(source).exists:
        fail("%s is missing: install the Debian package %s (bazel/test does it)" % (source, package))
    ctx.symlink(source, target)

def _impl(ctx):
    for tool, package in _TOOLS.items():
        _link(ctx, "/usr/bin/" + tool, "bin/" + tool, package)
    for proto in _PROTOS:
        file = "google/protobuf/%s.proto" % proto
        _link(ctx, "/usr/include/" + file, "include/" + file, "libprotobuf-dev")
    ctx.file("BUILD", """
package(default_visibility = ["//visibility:public"])

exports_files(glob(["bin/*", "include/**"]))

filegroup(
    name = "protos",
    srcs = glob(["include/**/*.proto"]),
)
""")

system_protobuf = repository_rule(
    implementation = _impl,
    local = True,
)
