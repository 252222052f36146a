"""The client of gRPC's interop tests: `grpc_client.py ADDRESS CASE...`, a line "CASE ok" or "CASE failed: WHY" for each.

The cases are those of interop-test-descriptions.md of the gRPC project; the last ones are of what a gateway says by itself.
"""

import queue
import sys

import grpc
import grpc_messages as m

SIZES = [31415, 9, 2653, 58979]
REQUEST_SIZES = [27182, 8, 1828, 45904]

# Far beyond what any call takes on a busy machine: who reaches it is stuck.
PATIENCE_S = 30


class Stub:
    def __init__(self, channel, service=m.SERVICE):
        for method, request, response, client_streams, server_streams in m.METHODS:
            setattr(self, method, self._call(channel, f"/{service}/{method}", request, response, client_streams, server_streams))
        self.UnimplementedCall = self._call(channel, f"/{service}/UnimplementedCall", "Empty", "Empty", False, False)

    @staticmethod
    def _call(channel, path, request, response, client_streams, server_streams):
        kind = ("stream" if client_streams else "unary") + "_" + ("stream" if server_streams else "unary")
        return getattr(channel, kind)(
            path,
            request_serializer=getattr(m, request).SerializeToString,
            response_deserializer=getattr(m, response).FromString,
        )


def same(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r}, not {wanted!r}")


def body(size):
    return m.Payload(body=bytes(size))


def output_request(size, sent=None, interval_us=0, **more):
    parameters = [m.ResponseParameters(size=size, interval_us=interval_us)]
    return m.StreamingOutputCallRequest(
        response_parameters=parameters, payload=None if sent is None else body(sent), **more
    )


def failure(call):
    """The error with which `call` ends."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


class Dialogue:
    """Requests of a stream, one at a time."""

    def __init__(self):
        self.queue = queue.Queue()

    def send(self, request):
        self.queue.put(request)

    def end(self):
        self.queue.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        request = self.queue.get()
        if request is None:
            raise StopIteration
        return request


def empty_unary(stub):
    same("the answer", stub.EmptyCall(m.Empty(), timeout=PATIENCE_S), m.Empty())


def large_unary(stub):
    request = m.SimpleRequest(response_size=314159, payload=body(271828))
    answer = stub.UnaryCall(request, timeout=PATIENCE_S)
    same("the answer", answer, m.SimpleResponse(payload=body(314159)))


def client_streaming(stub):
    requests = (m.StreamingInputCallRequest(payload=body(size)) for size in REQUEST_SIZES)
    same("the sum", stub.StreamingInputCall(requests, timeout=PATIENCE_S).aggregated_payload_size, 74922)


def server_streaming(stub):
    parameters = [m.ResponseParameters(size=size) for size in SIZES]
    answers = stub.StreamingOutputCall(m.StreamingOutputCallRequest(response_parameters=parameters), timeout=PATIENCE_S)
    same("the answers", [len(answer.payload.body) for answer in answers], SIZES)


def ping_pong(stub):
    requests = Dialogue()
    answers = stub.FullDuplexCall(requests, timeout=PATIENCE_S)
    for size, sent in zip(SIZES, REQUEST_SIZES):
        requests.send(output_request(size, sent))
        same("an answer", len(next(answers).payload.body), size)
    requests.end()
    same("what comes after the last", list(answers), [])


def empty_stream(stub):
    same("the answers", list(stub.FullDuplexCall(iter(()), timeout=PATIENCE_S)), [])


def cancel_after_begin(stub):
    requests = Dialogue()
    call = stub.StreamingInputCall.future(requests, timeout=PATIENCE_S)
    # Once the server knows of it: a call that is cancelled before it is sent tests nobody but the client.
    call.initial_metadata()
    call.cancel()
    same("the status", call.code(), grpc.StatusCode.CANCELLED)
    requests.end()


def cancel_after_first_response(stub):
    requests = Dialogue()
    answers = stub.FullDuplexCall(requests, timeout=PATIENCE_S)
    requests.send(output_request(31415, 27182))
    same("the answer", len(next(answers).payload.body), 31415)
    answers.cancel()
    same("the status", failure(lambda: next(answers)).code(), grpc.StatusCode.CANCELLED)
    requests.end()


def timeout_on_sleeping_server(stub):
    requests = Dialogue()
    answers = stub.FullDuplexCall(requests, timeout=0.001)
    requests.send(m.StreamingOutputCallRequest(payload=body(27182)))
    same("the status", failure(lambda: next(answers)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    requests.end()


def custom_metadata(stub):
    initial = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
    trailing = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
    request = m.SimpleRequest(response_size=314159, payload=body(271828))
    _, unary = stub.UnaryCall.with_call(request, metadata=[initial, trailing], timeout=PATIENCE_S)
    duplex = stub.FullDuplexCall(iter([output_request(314159, 271828)]), metadata=[initial, trailing], timeout=PATIENCE_S)
    same("the answers", [len(answer.payload.body) for answer in duplex], [314159])
    for what, call in (("unary", unary), ("duplex", duplex)):
        same(f"{what}: initial metadata", dict(call.initial_metadata()).get(initial[0]), initial[1])
        same(f"{what}: trailing metadata", dict(call.trailing_metadata()).get(trailing[0]), trailing[1])


def echoes_status(stub, message):
    status = m.EchoStatus(code=2, message=message)
    unary = failure(lambda: stub.UnaryCall(m.SimpleRequest(response_status=status), timeout=PATIENCE_S))
    requests = iter([m.StreamingOutputCallRequest(response_status=status)])
    duplex = failure(lambda: list(stub.FullDuplexCall(requests, timeout=PATIENCE_S)))
    for error in (unary, duplex):
        same("the status", (error.code(), error.details()), (grpc.StatusCode.UNKNOWN, message))


def status_code_and_message(stub):
    echoes_status(stub, "test status message")


def special_status_message(stub):
    echoes_status(stub, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n")


def unimplemented_method(stub):
    error = failure(lambda: stub.UnimplementedCall(m.Empty(), timeout=PATIENCE_S))
    same("the status", error.code(), grpc.StatusCode.UNIMPLEMENTED)
    # The gateway says this, too, where no route matches: here it is the server's word.
    same("who said it", dict(error.initial_metadata() or ()).get("x-vertice-reason"), None)


def unimplemented_service(channel):
    unimplemented_method(Stub(channel, "grpc.testing.UnimplementedService"))


def no_endpoint(stub):
    error = failure(lambda: stub.EmptyCall(m.Empty(), timeout=PATIENCE_S))
    same("the status", error.code(), grpc.StatusCode.UNAVAILABLE)
    said = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    same("the reason", said.get("x-vertice-reason"), "no_endpoint")
    same("the message", error.details(), "the service is not registered or has no instance that takes requests")


def own_deadline_before_an_answer(stub):
    error = failure(lambda: list(stub.FullDuplexCall(Dialogue(), timeout=PATIENCE_S)))
    same("the status", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def own_deadline_within_an_answer(stub):
    requests = Dialogue()
    answers = stub.FullDuplexCall(requests, timeout=PATIENCE_S)
    requests.send(output_request(9, 8))
    same("the answer", len(next(answers).payload.body), 9)
    same("the status", failure(lambda: next(answers)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def own_deadline_for_an_answer_to_begin(stub):
    """What was sent and may have been done is not UNAVAILABLE, which invites to do it again."""
    answers = stub.StreamingOutputCall(output_request(9, interval_us=3_000_000), timeout=PATIENCE_S)
    same("the status", failure(lambda: next(answers)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)


# The gateway knows by the host which of its rules a case is about.
HOSTS = {
    "no_endpoint": "nobody.test",
    "own_deadline_before_an_answer": "short.test",
    "own_deadline_within_an_answer": "short.test",
    "own_deadline_for_an_answer_to_begin": "first.test",
}


def main(address, cases):
    for case in cases:
        options = [("grpc.default_authority", HOSTS.get(case, "interop.test"))]
        with grpc.insecure_channel(address, options) as channel:
            try:
                globals()[case](channel if case == "unimplemented_service" else Stub(channel))
                print(case, "ok", flush=True)
            except (AssertionError, grpc.RpcError, StopIteration) as error:
                print(case, "failed:", " ".join(str(error).split()) or repr(error), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
