"""The messages of gRPC's interop tests, as src/proto/grpc/testing/{empty,messages}.proto of the gRPC project define them.

Built from this table when imported, so that nothing has to be generated: what the cases use, with the original's numbers.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "grpc.testing.TestService"

INT32, BYTES, STRING, BOOL = "TYPE_INT32", "TYPE_BYTES", "TYPE_STRING", "TYPE_BOOL"

MESSAGES = {
    "Empty": [],
    "Payload": [("type", 1, INT32), ("body", 2, BYTES)],
    "EchoStatus": [("code", 1, INT32), ("message", 2, STRING)],
    "SimpleRequest": [
        ("response_type", 1, INT32),
        ("response_size", 2, INT32),
        ("payload", 3, "Payload"),
        ("fill_username", 4, BOOL),
        ("fill_oauth_scope", 5, BOOL),
        ("response_status", 7, "EchoStatus"),
    ],
    "SimpleResponse": [("payload", 1, "Payload"), ("username", 2, STRING), ("oauth_scope", 3, STRING)],
    "StreamingInputCallRequest": [("payload", 1, "Payload")],
    "StreamingInputCallResponse": [("aggregated_payload_size", 1, INT32)],
    "ResponseParameters": [("size", 1, INT32), ("interval_us", 2, INT32)],
    "StreamingOutputCallRequest": [
        ("response_type", 1, INT32),
        ("response_parameters", 2, "*ResponseParameters"),
        ("payload", 3, "Payload"),
        ("response_status", 7, "EchoStatus"),
    ],
    "StreamingOutputCallResponse": [("payload", 1, "Payload")],
}

# (method, request, response, the client streams, the server streams)
METHODS = [
    ("EmptyCall", "Empty", "Empty", False, False),
    ("UnaryCall", "SimpleRequest", "SimpleResponse", False, False),
    ("StreamingOutputCall", "StreamingOutputCallRequest", "StreamingOutputCallResponse", False, True),
    ("StreamingInputCall", "StreamingInputCallRequest", "StreamingInputCallResponse", True, False),
    ("FullDuplexCall", "StreamingOutputCallRequest", "StreamingOutputCallResponse", True, True),
]


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="interop.proto", package="grpc.testing", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            added = message.field.add(name=field_name, number=number, label=label)
            if kind.startswith("TYPE_"):
                added.type = getattr(field, kind)
            else:
                added.type = field.TYPE_MESSAGE
                added.type_name = ".grpc.testing." + kind.lstrip("*")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName("grpc.testing." + name) for name in MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


globals().update(_classes())
