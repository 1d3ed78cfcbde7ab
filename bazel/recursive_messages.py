"""recursive_messages.py SET: names the messages of a FileDescriptorSet that can contain themselves."""

import sys

from google.protobuf import descriptor_pb2


def messages(scope, nested):
    for message in nested:
        name = f"{scope}.{message.name}"
        yield name, {f.type_name for f in message.field if f.type_name}
        yield from messages(name, message.nested_type)


def main():
    files = descriptor_pb2.FileDescriptorSet()
    with open(sys.argv[1], "rb") as file:
        files.ParseFromString(file.read())
    contains = {}
    for file in files.file:
        contains.update(messages(f".{file.package}", file.message_type))
    for name in sorted(contains):
        reached, todo = set(), [name]
        while todo:
            new = contains.get(todo.pop(), set()) - reached
            reached |= new
            todo += new
        if name in reached:
            print(f"{name[1:]} can contain itself")


main()
