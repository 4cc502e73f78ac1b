"""`tokenledger serve`: an OTLP endpoint that answers once the rows are committed.

http_service, grpc_service   take a request, know its token, answer
decoding, json_decoding, logs   a request's bytes -> records of model calls
intake                          records of many requests -> one COPY, each told what became of it
serving                         processes, sockets, the keeper, the end
"""
