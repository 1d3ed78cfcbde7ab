"""Rules for protocol buffers in C: protoc-c's code as a cc_library, descriptors as a C table.

    c_proto_library(name = "x_c_proto", srcs = ["x/v1/x.proto"], deps = [":y_c_proto"])

Includes are relative to the folder of the BUILD file, as in the .proto files themselves:
`#include "x/v1/x.pb-c.h"`.
"""

CProtoInfo = provider(
    "The .proto files of a c_proto_library and of all that it imports.",
    fields = {"protos": "depset of File"},
)

def _proto_paths(ctx, protos):
    """Where an imported file is looked for: this package (when it has any), the well-known types."""
    own = [p for p in protos.to_list() if not p.owner.workspace_name]
    well_known = ctx.file._timestamp.path.rsplit("/google/protobuf/", 1)[0]
    return (["-I" + ctx.label.package] if own else []) + ["-I" + well_known]

def _transitive(ctx):
    return depset(
        ctx.files.srcs,
        transitive = [d[CProtoInfo].protos for d in ctx.attr.deps] + [depset(ctx.files._well_known)],
    )

def _path_in_package(ctx, proto):
    """x/v1/x.proto for both a file of this package and a well-known type of @system_protobuf."""
    if proto.owner.workspace_name:
        return proto.short_path.split("/include/", 1)[1]
    return proto.short_path[len(ctx.label.package) + 1:]

def _c_proto_gen_impl(ctx):
    outs = []
    protos = _transitive(ctx)
    out_root = "/".join([p for p in [ctx.bin_dir.path, ctx.label.package] if p])
    for src in ctx.files.srcs:
        path = _path_in_package(ctx, src)
        made = [
            ctx.actions.declare_file(path[:-len("proto")] + "pb-c." + ext)
            for ext in ["c", "h"]
        ]
        ctx.actions.run(
            executable = ctx.executable._protoc_c,
            arguments = _proto_paths(ctx, protos) + ["--c_out=" + out_root, path],
            inputs = protos,
            outputs = made,
            mnemonic = "ProtocC",
            progress_message = "Generating C for " + path,
        )
        outs += made
    return [
        DefaultInfo(files = depset(outs)),
        OutputGroupInfo(
            sources = depset([f for f in outs if f.extension == "c"]),
            headers = depset([f for f in outs if f.extension == "h"]),
        ),
        CProtoInfo(protos = protos),
    ]

_COMMON = {
    "srcs": attr.label_list(allow_files = [".proto"], mandatory = True),
    "deps": attr.label_list(providers = [CProtoInfo]),
    "_well_known": attr.label(default = "@system_protobuf//:protos"),
    "_timestamp": attr.label(
        default = "@system_protobuf//:include/google/protobuf/timestamp.proto",
        allow_single_file = True,
    ),
}

_c_proto_gen = rule(
    implementation = _c_proto_gen_impl,
    attrs = dict(
        _COMMON,
        _protoc_c = attr.label(
            default = "@system_protobuf//:bin/protoc-c",
            allow_single_file = True,
            executable = True,
            cfg = "host",
        ),
    ),
)

def c_proto_library(name, srcs, deps = [], hdrs = [], visibility = None):
    """protoc-c's code for srcs, compiled.

    Args:
      name: the cc_library.
      srcs: .proto files below this package, or well-known types of @system_protobuf.
      deps: c_proto_libraries that srcs import from.
      hdrs: hand-written headers that belong to the library.
      visibility: as everywhere.
    """
    _c_proto_gen(
        name = name + "_gen",
        srcs = srcs,
        deps = [d + "_gen" for d in deps],
        visibility = ["//visibility:private"],
    )
    for group in ["sources", "headers"]:
        native.filegroup(
            name = name + "_" + group,
            srcs = [name + "_gen"],
            output_group = group,
            visibility = ["//visibility:private"],
        )
    native.cc_library(
        name = name,
        srcs = [name + "_sources"],
        hdrs = [name + "_headers"] + hdrs,
        # Generated code is not ours to warn about; its headers are found as system headers.
        copts = ["-w"],
        includes = ["."],
        visibility = visibility,
        deps = deps + ["//bazel/deps:protobuf_c"],
    )

def _descriptor_set_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".bin")
    protos = _transitive(ctx)
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = _proto_paths(ctx, protos) + [
            "--include_imports",
            "--descriptor_set_out=" + out.path,
        ] + [_path_in_package(ctx, f) for f in ctx.files.srcs],
        inputs = protos,
        outputs = [out],
        mnemonic = "DescriptorSet",
    )
    return [DefaultInfo(files = depset([out]))]

# A FileDescriptorSet of srcs and everything that they import, imports first.
descriptor_set = rule(
    implementation = _descriptor_set_impl,
    attrs = dict(
        _COMMON,
        _protoc = attr.label(
            default = "@system_protobuf//:bin/protoc",
            allow_single_file = True,
            executable = True,
            cfg = "host",
        ),
    ),
)
