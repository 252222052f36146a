"""A real gRPC server on a free port of loopback, for the tests: prints its port, then sets what it is told to.

With the argument "bare" it has no health service. Else each line of standard input is "SERVICE STATUS", where "-" is the
server as a whole. It ends with its standard input.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
servicer = health.HealthServicer()
if "bare" not in sys.argv:
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    service, status = line.split()
    value = health_pb2.HealthCheckResponse.ServingStatus.Value(status)
    servicer.set("" if service == "-" else service, value)
    print("set", flush=True)
server.stop(None)
