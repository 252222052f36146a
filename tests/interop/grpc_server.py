"""The server of gRPC's interop tests on a free port of loopback, as interop-test-descriptions.md of the gRPC project wants it.

It prints its port, then "cancelled METHOD" for every call that is cancelled. It ends with its standard input.
"""

import sys
import time
from concurrent import futures

import grpc
import grpc_messages as m

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"


def payload(size):
    return m.Payload(body=bytes(size))


def echo_metadata(context):
    for name, value in context.invocation_metadata():
        if name == INITIAL:
            context.send_initial_metadata([(name, value)])
        elif name == TRAILING:
            context.set_trailing_metadata([(name, value)])


def echo_status(request, context):
    if request.HasField("response_status") and request.response_status.code:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[request.response_status.code], request.response_status.message)


def empty_call(request, context):
    return m.Empty()


def unary_call(request, context):
    echo_metadata(context)
    echo_status(request, context)
    return m.SimpleResponse(payload=payload(request.response_size))


def streaming_output_call(request, context):
    echo_status(request, context)
    for parameters in request.response_parameters:
        time.sleep(parameters.interval_us / 1e6)
        yield m.StreamingOutputCallResponse(payload=payload(parameters.size))


def streaming_input_call(requests, context):
    # At once, so that the client knows that its call has begun here.
    context.send_initial_metadata([])
    size = sum(len(request.payload.body) for request in requests)
    return m.StreamingInputCallResponse(aggregated_payload_size=size)


def full_duplex_call(requests, context):
    echo_metadata(context)
    for request in requests:
        yield from streaming_output_call(request, context)


def watch(method, context):
    """Tells when the call ends because the client wants it no more; the library has no other word for that."""

    def ended():
        if context._state.client == "cancelled":
            print("cancelled", method, flush=True)

    context.add_callback(ended)


def watched(method, behaviour):
    """`behaviour`, watched, for one answer and for many."""

    def unary(request, context):
        watch(method, context)
        return behaviour(request, context)

    def stream(request, context):
        watch(method, context)
        yield from behaviour(request, context)

    return unary, stream


BEHAVIOURS = {
    "EmptyCall": empty_call,
    "UnaryCall": unary_call,
    "StreamingOutputCall": streaming_output_call,
    "StreamingInputCall": streaming_input_call,
    "FullDuplexCall": full_duplex_call,
}


def handler(method, request, response, client_streams, server_streams):
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    unary, stream = watched(method, BEHAVIOURS[method])
    return kinds[client_streams, server_streams](
        stream if server_streams else unary,
        request_deserializer=getattr(m, request).FromString,
        response_serializer=getattr(m, response).SerializeToString,
    )


handlers = {method[0]: handler(*method) for method in m.METHODS}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(m.SERVICE, handlers)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
